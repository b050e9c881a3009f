/** Every peer is a release of this program, or a client of its API: nothing older than TLS 1.3 has to be understood. */
export const TLS_VERSION = 'TLSv1.3';

/** ALPN: what agents and reducers speak inside TLS. A client of something else that shows a good certificate is not one of them. */
export const AGENT_PROTOCOL = 'tributary/1';
