import 'reflect-metadata';
import { randomBytes, type KeyObject } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** What an X.509 v3 certificate with ECDSA P-256 and SHA-256 is to say. */
export interface CertificateFacts {
  /** Common name. */
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: { readonly subject: string; readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly use:
    | { readonly kind: 'authority' }
    | { readonly kind: 'server'; readonly dnsNames: readonly string[]; readonly addresses: readonly string[] };
}

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' };

/** The certificate as PEM. */
export async function writeCertificate(facts: CertificateFacts): Promise<string> {
  const { subject, issuer, notBefore, notAfter } = facts;
  const publicKey = facts.publicKey.toCryptoKey(KEY_ALGORITHM, true, ['verify']);
  const issuerKey = issuer.publicKey.toCryptoKey(KEY_ALGORITHM, true, ['verify']);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${subject}`,
    issuer: `CN=${issuer.subject}`,
    notBefore,
    notAfter,
    publicKey,
    signingKey: issuer.privateKey.toCryptoKey(KEY_ALGORITHM, true, ['sign']),
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(issuerKey),
      ...extensionsOf(facts.use),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

function extensionsOf(use: CertificateFacts['use']): Extension[] {
  if (use.kind === 'authority') {
    return [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ];
  }
  const names = [
    ...use.dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...use.addresses.map((value) => ({ type: 'ip' as const, value })),
  ];
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new SubjectAlternativeNameExtension(names),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
  ];
}

/** 127 random bits, positive and in its shortest form (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8() & 0x3f) | 0x40);
  return bytes.toString('hex');
}
