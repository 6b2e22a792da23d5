import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto';

/** Writes X.509 v3 certificates with ECDSA P-256 and SHA-256 (RFC 5280, RFC 5758): only what ours need. */
export interface CertificateFacts {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: { readonly subject: string; readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly use:
    | { readonly kind: 'authority' }
    | { readonly kind: 'server'; readonly dnsNames: readonly string[]; readonly addresses: readonly Buffer[] };
}

const OID = {
  commonName: [2, 5, 4, 3],
  ecdsaWithSha256: [1, 2, 840, 10045, 4, 3, 2],
  subjectKeyIdentifier: [2, 5, 29, 14],
  keyUsage: [2, 5, 29, 15],
  subjectAlternativeName: [2, 5, 29, 17],
  basicConstraints: [2, 5, 29, 19],
  authorityKeyIdentifier: [2, 5, 29, 35],
  extendedKeyUsage: [2, 5, 29, 37],
  serverAuthentication: [1, 3, 6, 1, 5, 5, 7, 3, 1],
} as const;

/** The certificate as PEM. */
export function writeCertificate(facts: CertificateFacts): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(serialNumber()),
    algorithm,
    name(facts.issuer.subject),
    sequence(time(facts.notBefore), time(facts.notAfter)),
    name(facts.subject),
    facts.publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions(facts))),
  );
  const signature = sign('sha256', toBeSigned, facts.issuer.privateKey);
  const der = sequence(toBeSigned, algorithm, bitString(signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function extensions({ use, publicKey, issuer }: CertificateFacts): Buffer[] {
  const isAuthority = use.kind === 'authority';
  const usage = isAuthority ? Buffer.of(1, 0x06) : Buffer.of(7, 0x80); // keyCertSign + cRLSign, or digitalSignature
  const common = [
    extension(OID.basicConstraints, isAuthority ? sequence(tlv(0x01, Buffer.of(0xff))) : sequence(), true),
    extension(OID.keyUsage, tlv(0x03, usage), true),
    extension(OID.subjectKeyIdentifier, tlv(0x04, keyIdentifier(publicKey))),
    extension(OID.authorityKeyIdentifier, sequence(tlv(0x80, keyIdentifier(issuer.publicKey)))),
  ];
  if (use.kind === 'authority') return common;
  const names = [
    ...use.dnsNames.map((text) => tlv(0x82, Buffer.from(text))),
    ...use.addresses.map((ip) => tlv(0x87, ip)),
  ];
  return [
    ...common,
    extension(OID.subjectAlternativeName, sequence(...names)),
    extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuthentication))),
  ];
}

function extension(id: readonly number[], value: Buffer, isCritical = false): Buffer {
  const critical = isCritical ? [tlv(0x01, Buffer.of(0xff))] : [];
  return sequence(oid(id), ...critical, tlv(0x04, value));
}

/** RFC 7093 method 1: SHA-256 of the key, cut to 160 bits. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20);
}

/** 127 random bits, positive and in its shortest form. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8() & 0x3f) | 0x40);
  return bytes;
}

/** DER: type, length, value. */
function tlv(type: number, ...values: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(values);
  const length = value.length;
  if (length < 0x80) return Buffer.concat([Buffer.of(type, length), value]);
  const bytes = length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff);
  return Buffer.concat([Buffer.of(type), bytes, value]);
}

const sequence = (...values: readonly Uint8Array[]): Buffer => tlv(0x30, ...values);
const explicit = (tag: number, value: Buffer): Buffer => tlv(0xa0 + tag, value);
const integer = (bytes: Buffer): Buffer => tlv(0x02, bytes);
const bitString = (bytes: Buffer): Buffer => tlv(0x03, Buffer.of(0), bytes);

const name = (text: string): Buffer => sequence(tlv(0x31, sequence(oid(OID.commonName), tlv(0x0c, Buffer.from(text)))));

/** UTCTime: all our dates are before 2050. */
const time = (date: Date): Buffer =>
  tlv(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`));

function oid([first = 0, second = 0, ...rest]: readonly number[]): Buffer {
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return tlv(0x06, Buffer.from(bytes));
}
