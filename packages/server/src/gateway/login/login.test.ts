import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { message } from '../../pgwire/fields.ts';
import { ProtocolError } from '../../pgwire/protocol-error.ts';
import { addressKey, addressPrefix, isAddressAllowed, isLoopback, normalizeAddress } from './client-address.ts';
import { DisconnectedError, MessageChannel } from './message-channel.ts';
import { resolveEndpoint } from './resolve-endpoint.ts';

describe('endpoint', () => {
  test.each([
    ['ep-a.db.test', undefined, 'ep-a'],
    ['EP-A.DB.TEST', undefined, 'ep-a'],
    ['ep-a-pooler.db.test', undefined, 'ep-a'],
    [undefined, 'ep-a-pooler', 'ep-a'],
    ['ep-a-pooler.db.test', 'ep-a', 'ep-a'],
    ['localhost', 'ep-b', 'ep-b'],
    ['db.test', undefined, undefined],
    ['x.ep-a.db.test', undefined, undefined],
    ['ep-a.db.test.evil.com', undefined, undefined],
    ['.db.test', undefined, undefined],
    [undefined, undefined, undefined],
  ])('SNI %s and option %s give %s', (serverName, option, expected) => {
    expect(resolveEndpoint(serverName, option, 'db.test')).toBe(expected);
  });

  test('SNI below localhost counts, localhost itself does not', () => {
    expect(resolveEndpoint('ep-a.localhost', undefined, 'localhost')).toBe('ep-a');
    expect(resolveEndpoint('localhost', undefined, 'localhost')).toBeUndefined();
  });

  test('two that differ, and bad characters', () => {
    expect(() => resolveEndpoint('ep-a.db.test', 'ep-b', 'db.test')).toThrow(
      "Inconsistent project name inferred from SNI ('ep-a') and project option ('ep-b').",
    );
    for (const name of ['', 'ep_a', 'ep a', 'é', "';--", 'x'.repeat(64)]) {
      expect(() => resolveEndpoint(undefined, name, 'db.test')).toThrow('must contain only alphanumeric characters');
    }
    expect(() => resolveEndpoint(undefined, 'a\u{1b}[31m', 'db.test')).toThrow("('a?[31m')");
  });
});

describe('addresses', () => {
  test('forms', () => {
    expect(normalizeAddress('::ffff:127.0.0.1')).toBe('127.0.0.1');
    expect(normalizeAddress('fe80::1%eth0')).toBe('fe80::1');
    expect(['127.0.0.1', '127.9.9.9', '::1'].every(isLoopback)).toBe(true);
    expect(['128.0.0.1', '::2', '', '1.127.0.1'].some(isLoopback)).toBe(false);
    expect(addressKey('1.2.3.4')).toBe('1.2.3.4');
    expect(addressPrefix('1.2.3.4')).toBe('1.2.3');
    expect(addressKey('2001:db8:1:2:3:4:5:6')).toBe(addressKey('2001:db8:1:2::9'));
    expect(addressKey('2001:db8::1')).toBe('2001:db8:0:0');
    expect(addressKey('::1')).toBe('0:0:0:0');
  });

  test.each([
    [[], '1.2.3.4', true],
    [['1.2.3.4'], '1.2.3.4', true],
    [['1.2.3.4'], '1.2.3.5', false],
    [['10.0.0.0/8', '192.168.1.5'], '10.200.0.1', true],
    [['1.1.1.1-1.1.1.9'], '1.1.1.5', true],
    [['1.1.1.1 - 1.1.1.9'], '1.1.1.10', false],
    [['2001:db8::/32'], '2001:db8:5::1', true],
    [['2001:db8::/32'], '10.0.0.1', false],
    [['nonsense', '1.2.3.4/99', '5-1', ''], '1.2.3.4', false],
    [['0.0.0.0/0'], '8.8.8.8', true],
  ])('list %j and %s: %s', (list, address, expected) => {
    expect(isAddressAllowed(list, address)).toBe(expected);
  });
});

describe('message channel', () => {
  test('reads what came before and after the call, then says that the peer left', async () => {
    const socket = new PassThrough();
    const channel = new MessageChannel(socket);
    socket.write(message('p', Buffer.from('one')));
    await new Promise((resolve) => setImmediate(resolve));
    expect((await channel.readMessage(10)).body.toString()).toBe('one');
    const next = channel.readMessage(10);
    socket.write(message('p', Buffer.from('two')));
    expect((await next).body.toString()).toBe('two');
    const last = channel.readMessage(10);
    socket.end();
    await expect(last).rejects.toThrow(DisconnectedError);
    expect(channel.closed.aborted).toBe(true);
    await expect(channel.readMessage(10)).rejects.toThrow(DisconnectedError);
  });

  test('a bad length rejects the read', async () => {
    const socket = new PassThrough();
    const channel = new MessageChannel(socket);
    const read = channel.readMessage(10);
    socket.write(message('p', Buffer.alloc(11)));
    await expect(read).rejects.toThrow(ProtocolError);
  });

  test('detaching gives the bytes not taken', async () => {
    const socket = new PassThrough();
    const channel = new MessageChannel(socket);
    const read = channel.readMessage(10);
    socket.write(Buffer.concat([message('p'), Buffer.from('ahead')]));
    await read;
    expect(channel.detach().toString()).toBe('ahead');
    expect(socket.isPaused()).toBe(true);
  });

  test('a peer that sends while nobody reads is held back', async () => {
    const socket = new PassThrough();
    const channel = new MessageChannel(socket);
    socket.write(Buffer.alloc(70_000));
    await new Promise((resolve) => setImmediate(resolve));
    expect(socket.isPaused()).toBe(true);
    expect(channel.detach()).toHaveLength(70_000);
  });

  test('a socket that is gone already', async () => {
    const socket = new PassThrough();
    socket.destroy();
    await expect(new MessageChannel(socket).peek()).rejects.toThrow(DisconnectedError);
  });
});
