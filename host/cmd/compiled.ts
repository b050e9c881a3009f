import { join } from 'node:path';

/**
 * What Node compiled: the roles are a thousand files, most of them of libraries. Not in the common temporary folder, where others could plant
 * code for root.
 */
export const COMPILED = join(import.meta.dirname, '../../.cache/compiled');
