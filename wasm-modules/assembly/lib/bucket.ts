// Buckets of an exponential histogram (OpenTelemetry metrics data model): bucket `index` holds seconds v with
// base^index < v <= base^(index + 1), base = 2^(1/8).
//
// The exponent bits of a double are floor(log2 v); only the eighth inside the octave is missing. The top 8 bits of the mantissa
// choose a segment 1/256 wide, which holds at most one boundary 2^(k/8); comparing the whole mantissa with it decides:
//
//   index = 8 * exponent + SEGMENT[mantissa >> 44].eighth + (mantissa > SEGMENT[mantissa >> 44].boundary) - (mantissa == 0)
//
// The last term makes an exact power of two belong to the bucket that it ends. The index is taken on seconds, because
// 8 * log2(10^6) is no integer, and in double precision, because a float is off by one bucket near boundaries above 10 s.

/** Of every histogram: base = 2^(2^-scale). */
export const HISTOGRAM_SCALE: i32 = 3;

const SEGMENTS: usize = 256;
const SEGMENT_SHIFT: u64 = 44;
const MANTISSA_MASK: u64 = 0x000f_ffff_ffff_ffff;
/** A segment is the boundary that follows its start (u64) and the eighth at its start (u64). */
const SEGMENT_BYTES: usize = 16;

const segments = memory.data(4096, 8);

export function initBuckets(): void {
  for (let segment: usize = 0; segment < SEGMENTS; segment++) {
    const start = (<u64>segment) << SEGMENT_SHIFT;
    let eighth: u32 = 0;
    while (eighth < 7 && boundary(eighth + 1) < start) eighth++;
    store<u64>(segments + segment * SEGMENT_BYTES, boundary(eighth + 1));
    store<u64>(segments + segment * SEGMENT_BYTES, eighth, 8);
  }
}

/** Bucket of `seconds`, finite and > 0. */
export function bucketOf(seconds: f64): i32 {
  const bits = reinterpret<u64>(seconds);
  const mantissa = bits & MANTISSA_MASK;
  const exponent = <i32>(bits >>> 52) - 1023;
  const segment = segments + <usize>(mantissa >>> SEGMENT_SHIFT) * SEGMENT_BYTES;
  const eighth = <i32>load<u64>(segment, 8) + i32(mantissa > load<u64>(segment));
  return exponent * 8 + eighth - i32(mantissa === 0);
}

/** Bucket of a sample in nanoseconds; 0 counts as 1. Rises with the sample, so the mean of samples of one bucket, rounded down, is in it. */
export function bucketOfNs(sampleNs: u64): i32 {
  return bucketOf(<f64>max(sampleNs, 1) / 1e9);
}

/** Mantissa of 2^(eighth / 8), rounded down; no mantissa is above that of eighth 8. */
function boundary(eighth: u32): u64 {
  if (eighth === 1) return 0x1_72b8_3c7d_517a;
  if (eighth === 2) return 0x3_06fe_0a31_b715;
  if (eighth === 3) return 0x4_bfda_d536_2a27;
  if (eighth === 4) return 0x6_a09e_667f_3bcc;
  if (eighth === 5) return 0x8_ace5_422a_a0db;
  if (eighth === 6) return 0xa_e89f_995a_d3ad;
  if (eighth === 7) return 0xd_5818_dcfb_a487;
  return MANTISSA_MASK;
}
