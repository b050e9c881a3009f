/** The certificate of a peer whose handshake was accepted. */
export interface PeerCertificate {
  /** Host names and addresses that it stands for. */
  names: string[];
  serial: string;
  /** ISO 8601. */
  expires: string;
}
