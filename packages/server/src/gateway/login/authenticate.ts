import { randomBytes } from 'node:crypto';
import type { ScramVerifier } from '../../kernel/scram-verifier.ts';
import {
  authenticationCleartextPassword,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../../pgwire/backend-messages.ts';
import { parsePassword, parseSaslInitialResponse } from '../../pgwire/frontend-messages.ts';
import { ProtocolError } from '../../pgwire/protocol-error.ts';
import { ScramServer } from '../../pgwire/scram-server.ts';
import { clientKeyOfPassword, SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from '../../pgwire/scram.ts';
import { parsePasswordWithEndpoint, parseStartupOptions } from '../../pgwire/startup-options.ts';
import { isAddressAllowed } from './client-address.ts';
import type { ClientStartup } from './client-handshake.ts';
import {
  addressNotAllowed,
  endpointDisabled,
  endpointNotSpecified,
  endpointUnknown,
  protectedRole,
  userMissing,
  wrongPassword,
} from '../error-response.ts';
import type { LoginAttempt, LoginLimits } from '../limits/login-limits.ts';
import { DisconnectedError } from './message-channel.ts';
import type { DirectoryEntry, EndpointDirectory } from '../ports.ts';
import type { RoleVerifiers } from './role-verifiers.ts';
import { resolveEndpoint, toEndpointId } from './resolve-endpoint.ts';

const SCRAM_MESSAGE_MAX_BYTES = 1024;
const PASSWORD_MESSAGE_MAX_BYTES = 8192;

/** Roles of the platform itself. Nobody logs in as one of them through the gateway. */
const PROTECTED_ROLES: ReadonlySet<string> = new Set(['cloud_admin']);

export interface AuthenticationParts {
  readonly domain: string;
  readonly directory: EndpointDirectory;
  readonly verifiers: RoleVerifiers;
  readonly limits: LoginLimits;
}

/** Who the client is, and the keys that log it in to the compute. */
export interface AuthenticatedClient {
  readonly endpointId: string;
  readonly user: string;
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
  /** Startup parameters for the compute, without the words meant for us. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The end of authentication: goes to the client with the compute's first messages, in one write. */
  readonly greeting: Buffer;
}

/**
 * Finds out which endpoint the client wants and that it knows the role's password, without waking anything.
 * @throws GatewayError in the words of Neon; ProtocolError, DisconnectedError
 */
export async function authenticate(
  client: ClientStartup,
  address: string,
  parts: AuthenticationParts,
): Promise<AuthenticatedClient> {
  const user = client.parameters.get('user') ?? '';
  if (user === '') throw userMissing();
  const { endpoint: option, forwarded } = parseStartupOptions(client.parameters.get('options') ?? '');
  const named = resolveEndpoint(client.serverName, option, parts.domain);
  const { endpointId, password } =
    named === undefined ? await askForEndpoint(client) : { endpointId: named, password: undefined };
  const attempt = { endpointId, address };
  const entry = await openEndpoint(attempt, parts);
  if (PROTECTED_ROLES.has(user)) throw protectedRole();
  const verifier = await parts.verifiers.find(entry, user);
  const proof =
    password === undefined ? await exchangeScram(client, verifier) : await checkPassword(password, verifier);
  // Of guesses sent at once all have passed the first look. Right ones and wrong ones take the same way from here.
  const refusal = parts.limits.refusalAfterFailures(attempt);
  if (refusal) throw refusal;
  if (!proof) {
    const overdrawn = await parts.limits.recordFailure(attempt);
    void forgiveIfOutdated(attempt, parts, parts.verifiers.refresh(entry, user, verifier));
    throw overdrawn ?? wrongPassword(user);
  }
  if (entry.disabled) throw endpointDisabled();
  const parameters = new Map(client.parameters);
  parameters.delete('options');
  if (forwarded !== undefined) parameters.set('options', forwarded);
  return { endpointId, user, ...proof, serverKey: verifier.serverKey, parameters };
}

/**
 * A password was changed by SQL, and the client was checked against the old one: a pool that opens ten connections with
 * the new password at once has guessed nothing.
 */
async function forgiveIfOutdated(
  attempt: LoginAttempt,
  { limits }: AuthenticationParts,
  refreshed: Promise<'outdated' | 'current'>,
): Promise<void> {
  if ((await refreshed) === 'outdated') await limits.forgiveFailures(attempt);
}

/** Neither SNI nor options name the endpoint, so it must stand in the password, which we then have to see. */
async function askForEndpoint(client: ClientStartup): Promise<{ endpointId: string; password: string }> {
  const { channel, negotiation } = client;
  channel.write(Buffer.concat([negotiation, authenticationCleartextPassword()]));
  const text = parsePassword(await readAnswer(client, PASSWORD_MESSAGE_MAX_BYTES));
  const found = parsePasswordWithEndpoint(text);
  if (!found) throw endpointNotSpecified();
  return { endpointId: toEndpointId(found.endpoint), password: found.password };
}

async function openEndpoint(attempt: LoginAttempt, parts: AuthenticationParts): Promise<DirectoryEntry> {
  const { endpointId, address } = attempt;
  const refusal = parts.limits.refusalOf(attempt);
  if (refusal !== undefined) throw refusal;
  const entry = await parts.directory.find(endpointId);
  if (!entry) throw endpointUnknown();
  if (!isAddressAllowed(entry.allowedIps, address)) {
    throw addressNotAllowed(address);
  }
  return entry;
}

interface Proof {
  readonly clientKey: Buffer;
  readonly greeting: Buffer;
}

async function checkPassword(password: string, verifier: ScramVerifier): Promise<Proof | undefined> {
  const clientKey = await clientKeyOfPassword(password, verifier);
  return clientKey && { clientKey, greeting: authenticationOk() };
}

async function exchangeScram(client: ClientStartup, verifier: ScramVerifier): Promise<Proof | undefined> {
  const { channel, negotiation, tls } = client;
  const channelBinding = tls?.channelBinding;
  const mechanisms = channelBinding ? [SCRAM_SHA_256_PLUS, SCRAM_SHA_256] : [SCRAM_SHA_256];
  channel.write(Buffer.concat([negotiation, authenticationSasl(mechanisms)]));
  const scram = new ScramServer({ verifier, nonce: randomBytes(18).toString('base64'), channelBinding });
  const first = parseSaslInitialResponse(await readAnswer(client, SCRAM_MESSAGE_MAX_BYTES));
  channel.write(authenticationSaslContinue(scram.receiveFirst(first.mechanism, first.data)));
  const final = await readAnswer(client, SCRAM_MESSAGE_MAX_BYTES);
  const success = scram.receiveFinal(final.toString('utf8'));
  return (
    success && {
      clientKey: success.clientKey,
      greeting: Buffer.concat([authenticationSaslFinal(success.serverFinal), authenticationOk()]),
    }
  );
}

async function readAnswer({ channel }: ClientStartup, bodyMaxBytes: number): Promise<Buffer> {
  const { type, body } = await channel.readMessage(bodyMaxBytes);
  if (type === 'X') throw new DisconnectedError('The client left during authentication');
  if (type !== 'p') throw new ProtocolError('expected an answer to the authentication request');
  return body;
}
