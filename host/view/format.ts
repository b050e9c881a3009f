// Quantities as a person reads them: three digits, decimal units (IEC 80000-13), no more than eight characters.

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `bytesPerSecond` ≥ 0; "-" for zero, so that idle directions do not draw the eye. */
export function formatRate(bytesPerSecond: number): string {
  return bytesPerSecond === 0 ? '-' : `${formatBytes(bytesPerSecond)}/s`;
}

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${threeDigits(value)} ${BYTE_UNITS[unit]}`;
}

/** `microseconds` ≥ 0. */
export function formatLatency(microseconds: number): string {
  if (microseconds < 999.5) return `${threeDigits(microseconds)} us`;
  if (microseconds < 999_500) return `${threeDigits(microseconds / 1000)} ms`;
  return `${threeDigits(microseconds / 1e6)} s`;
}

/** `part` of `whole` in per cent; "-" when nothing was lost. */
export function formatShare(part: number, whole: number): string {
  if (part === 0) return '-';
  const percent = (100 * part) / Math.max(part, whole);
  return percent < 0.01 ? '<0.01 %' : `${threeDigits(percent)} %`;
}

export function formatCount(count: number): string {
  return count === 0 ? '-' : String(count);
}

function threeDigits(value: number): string {
  if (value >= 99.95 || Number.isInteger(value)) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}
