/** Where a reducer of this host serves its API unless told otherwise. */
export const DEFAULT_API = 'unix:/run/tributary/api.sock';
