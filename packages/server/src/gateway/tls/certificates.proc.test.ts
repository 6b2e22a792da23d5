import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { skipWithout } from '../../../../../tests/support/tools.ts';
import { ensureCertificates } from './certificates.ts';

const run = promisify(execFile);
const DAY_MS = 86_400_000;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp('/tmp/tenantry-tls-');
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const later = (days: number): Date => new Date(Date.now() + days * DAY_MS);

test('OpenSSL accepts the chain for every name', async (context) => {
  skipWithout('openssl', context);
  const { caPath, certPem } = await ensureCertificates({ directory, domain: 'db.example.com' });
  const path = join(directory, 'cert-only.pem');
  await writeFile(path, certPem);
  for (const name of ['localhost', 'db.example.com', 'ep-x.db.example.com']) {
    await run('openssl', [
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-verify_hostname',
      name,
      '-CAfile',
      caPath,
      path,
    ]);
  }
  for (const ip of ['127.0.0.1', '::1']) {
    await run('openssl', ['verify', '-x509_strict', '-verify_ip', ip, '-CAfile', caPath, path]);
  }
  await expect(run('openssl', ['verify', '-verify_hostname', 'other.com', '-CAfile', caPath, path])).rejects.toThrow();
});

test('the certificate is of its authority and for every name, and keys are private', async () => {
  const { caPath, certPem, caPem } = await ensureCertificates({ directory, domain: 'db.example.com' });
  const certificate = new X509Certificate(certPem);
  expect(certificate.signatureAlgorithm).toBe('ecdsa-with-SHA256');
  expect(certificate.ca).toBe(false);
  expect(certificate.verify(new X509Certificate(caPem).publicKey)).toBe(true);
  for (const name of ['localhost', 'db.example.com', 'ep-x.db.example.com']) {
    expect(certificate.checkHost(name), name).toBeTruthy();
  }
  for (const ip of ['127.0.0.1', '::1']) expect(certificate.checkIP(ip), ip).toBe(ip);
  expect(certificate.checkHost('other.com')).toBeUndefined();
  for (const file of ['ca-key.pem', 'server.pem']) {
    expect((await stat(join(directory, file))).mode & 0o777).toBe(0o600);
  }
  expect((await readFile(caPath, 'utf8')).includes('PRIVATE')).toBe(false);
  expect((await readdir(directory)).sort()).toEqual(['ca-key.pem', 'ca.pem', 'server.pem']);
});

test('both are kept while good; the server certificate is renewed near its end and for a new domain', async () => {
  const first = await ensureCertificates({ directory, domain: 'localhost' });
  expect(await ensureCertificates({ directory, domain: 'localhost' })).toEqual(first);
  const moved = await ensureCertificates({ directory, domain: 'db.example.com' });
  expect(moved.caPem).toBe(first.caPem);
  expect(moved.certPem).not.toBe(first.certPem);
  const renewed = await ensureCertificates({ directory, domain: 'db.example.com', now: later(380) });
  expect(renewed.caPem).toBe(first.caPem);
  expect(renewed.certPem).not.toBe(moved.certPem);
  expect(new X509Certificate(renewed.certPem).validToDate.getTime()).toBeGreaterThan(later(770).getTime());
  const decade = await ensureCertificates({ directory, domain: 'db.example.com', now: later(3630) });
  expect(decade.caPem).not.toBe(first.caPem);
  expect(new X509Certificate(decade.certPem).verify(new X509Certificate(decade.caPem).publicKey)).toBe(true);
});

test('what a crash or a person spoiled is made anew', async () => {
  const first = await ensureCertificates({ directory, domain: 'localhost' });
  await rm(first.caPath);
  expect(await ensureCertificates({ directory, domain: 'localhost' })).toEqual(first);
  await writeFile(join(directory, 'server.pem'), 'garbage');
  const second = await ensureCertificates({ directory, domain: 'localhost' });
  expect(second.caPem).toBe(first.caPem);
  expect(second.certPem).not.toBe(first.certPem);
});
