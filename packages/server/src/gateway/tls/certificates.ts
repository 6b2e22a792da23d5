import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../../kernel/atomic-file.ts';
import type { ServerCertificate } from './client-tls.ts';

export interface Certificates extends ServerCertificate {
  /** For clients: `sslrootcert`, `NODE_EXTRA_CA_CERTS`. */
  readonly caPath: string;
  readonly caPem: string;
}

interface EnsureCertificatesOptions {
  /** Private directory; made if absent. */
  readonly directory: string;
  readonly domain: string;
  readonly now?: Date;
}

const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
/** Apple's and others' limit for a server certificate is 398 days. */
const SERVER_DAYS = 397;
const RENEW_BEFORE_DAYS = 30;
/** Clients' clocks may be behind ours. */
const BACKDATE_MS = DAY_MS;

const LOOPBACK_ADDRESSES = ['127.0.0.1', '::1'];

/**
 * The installation's own certificate authority and the server certificate that it signed: made at the first call,
 * renewed when near their end; the server's also when the domain changed. Each key stands with its certificate in one
 * file (0600), so that a crash cannot leave a pair that does not match. `ca.pem` is the authority's certificate alone.
 * Call it from one process at a time.
 */
export async function ensureCertificates(options: EnsureCertificatesOptions): Promise<Certificates> {
  const { directory, domain, now = new Date() } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const authority = await ensurePair(
    join(directory, 'ca-key.pem'),
    (certificate) => certificate.checkIssued(certificate) && !isNearEnd(certificate, now),
    () => makeAuthority(now),
  );
  const caPath = join(directory, 'ca.pem');
  if ((await readFileIfExists(caPath)) !== authority.certPem) await writeFileAtomic(caPath, authority.certPem, 0o644);

  const names = [...new Set(['localhost', '*.localhost', domain, `*.${domain}`])];
  const authorityCertificate = new X509Certificate(authority.certPem);
  const server = await ensurePair(
    join(directory, 'server.pem'),
    (certificate) =>
      certificate.checkIssued(authorityCertificate) &&
      certificate.verify(authorityCertificate.publicKey) &&
      !isNearEnd(certificate, now) &&
      names.every((name) => certificate.subjectAltName?.split(', ').includes(`DNS:${name}`)),
    () => makeServer(domain, names, authority, now),
  );
  return { caPath, caPem: authority.certPem, ...server };
}

const isNearEnd = (certificate: X509Certificate, now: Date): boolean =>
  certificate.validToDate.getTime() - now.getTime() < RENEW_BEFORE_DAYS * DAY_MS;

/** The key and certificate in a file if they are good, else new ones put there. */
async function ensurePair(
  path: string,
  isGood: (certificate: X509Certificate) => boolean,
  make: () => Promise<ServerCertificate>,
): Promise<ServerCertificate> {
  const stored = parsePair(await readFileIfExists(path));
  if (stored && isGood(new X509Certificate(stored.certPem))) return stored;
  const pair = await make();
  await writeFileAtomic(path, pair.keyPem + pair.certPem, 0o600);
  return pair;
}

function parsePair(text: string | undefined): ServerCertificate | undefined {
  const [keyPem, certPem] =
    text?.match(/-----BEGIN (?:PRIVATE KEY|CERTIFICATE)-----[^-]+-----END [A-Z ]+-----\n/g) ?? [];
  if (keyPem === undefined || certPem === undefined) return undefined;
  return new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem)) ? { keyPem, certPem } : undefined;
}

async function makeAuthority(now: Date): Promise<ServerCertificate> {
  const { writeCertificate } = await certificateWriter();
  const { privateKey, publicKey } = generateKeys();
  const subject = `Tenantry CA ${now.toISOString().slice(0, 10)}`;
  const issuer = { subject, publicKey, privateKey };
  const certPem = await writeCertificate({
    subject,
    publicKey,
    issuer,
    ...validity(now, AUTHORITY_DAYS),
    use: { kind: 'authority' },
  });
  return { keyPem: toPem(privateKey), certPem };
}

async function makeServer(
  domain: string,
  dnsNames: readonly string[],
  authority: ServerCertificate,
  now: Date,
): Promise<ServerCertificate> {
  const { writeCertificate } = await certificateWriter();
  const { privateKey, publicKey } = generateKeys();
  const authorityKey = createPrivateKey(authority.keyPem);
  const issuer = {
    subject: new X509Certificate(authority.certPem).subject.replace(/^CN=/, ''),
    publicKey: createPublicKey(authorityKey),
    privateKey: authorityKey,
  };
  const use = { kind: 'server', dnsNames, addresses: LOOPBACK_ADDRESSES } as const;
  const subject = domain.length <= 64 ? domain : 'Tenantry gateway';
  const certPem = await writeCertificate({ subject, publicKey, issuer, ...validity(now, SERVER_DAYS), use });
  return { keyPem: toPem(privateKey), certPem };
}

/** Loaded only to write: gateways merely read, and the library takes memory in each of them. */
const certificateWriter = () => import('./x509.ts');

const generateKeys = (): { privateKey: KeyObject; publicKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' });

const toPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

const validity = (now: Date, days: number): { notBefore: Date; notAfter: Date } => ({
  notBefore: new Date(now.getTime() - BACKDATE_MS),
  notAfter: new Date(now.getTime() + days * DAY_MS),
});
