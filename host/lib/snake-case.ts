/** `SocketQuota` and `socketQuota` → `socket_quota`. */
export function snakeCase(name: string): string {
  return name.replace(/(?!^)([A-Z])/g, '_$1').toLowerCase();
}
