/** What the user asked for cannot be done as asked. The message names the option, what is wrong and what would work; `code` is stable. */
export class UsageError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
