import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** The address as people write it: IPv4 in IPv6 (`::ffff:1.2.3.4`) becomes IPv4. */
export function normalizeAddress(address: string | undefined): string {
  const text = (address ?? '').replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text);
  return mapped?.[1] ?? text;
}

export const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';

/** What counts as one client: an IPv4 address, or the /64 that one IPv6 subscriber gets. */
export const addressKey = (address: string): string => (isIPv6(address) ? prefix64(address) : address);

/** A wider group, for limits that a client with many addresses must not escape: /24 or /64. */
export const addressPrefix = (address: string): string =>
  isIPv4(address) ? address.slice(0, address.lastIndexOf('.')) : addressKey(address);

function prefix64(address: string): string {
  const [head = '', tail] = address.toLowerCase().split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...right].slice(0, 4).join(':');
}

const lists = new WeakMap<readonly string[], BlockList>();

/**
 * Whether an endpoint's allow list lets the address in. Entries: single IP, CIDR, or `a-b` range; an entry that is
 * none of these allows nobody, and an empty list everybody.
 */
export function isAddressAllowed(allowed: readonly string[], address: string): boolean {
  if (allowed.length === 0) return true;
  let list = lists.get(allowed);
  if (!list) {
    list = new BlockList();
    for (const entry of allowed) addEntry(list, entry.trim());
    lists.set(allowed, list);
  }
  return list.check(address, familyOf(address));
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv4(address) ? 'ipv4' : 'ipv6');

function addEntry(list: BlockList, entry: string): void {
  const [first = '', last] = entry.split('-');
  const [network = '', bits] = entry.split('/');
  try {
    if (last !== undefined) list.addRange(first.trim(), last.trim(), familyOf(first.trim()));
    else if (bits !== undefined) list.addSubnet(network, Number(bits), familyOf(network));
    else list.addAddress(entry, familyOf(entry));
  } catch {
    // Not an address: the API refuses such entries, and what slips through must not open the endpoint.
  }
}
