import type { GoodbyeReason } from './gen/wire-layout.ts';

const WORDS: Readonly<Record<Exclude<keyof typeof GoodbyeReason, 'None'>, string>> = {
  Stopping: 'it stops',
  ReducerStopping: 'it stops',
  ProtocolVersion: 'it is of another release and does not understand this one',
  DuplicateAgent: 'another agent speaks for this host',
  Quarantined: 'it refused too much of what it was told',
  AgentLimit: 'it has as many agents as it takes',
  TlsRequired: 'it wants TLS: give this agent tls.ca, tls.cert and tls.key',
  NoCertificate: 'it wants a certificate: give this agent tls.cert and tls.key',
  UnknownAuthority: "this agent's certificate is not from an authority that it knows",
  CertificateExpired: "this agent's certificate has expired, or the clocks disagree",
  CertificateRefused: "it does not accept this agent's certificate; its log says why",
  NodeName: "this agent's certificate is for other names than its node's",
};

/** Why a reducer ended a connection. `name`: of the GoodbyeReason. */
export function describeGoodbye(name: string): string {
  return name in WORDS ? WORDS[name as keyof typeof WORDS] : name;
}
