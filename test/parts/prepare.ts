// Part of `npm test`: builds the programs that tests need, where they are not in the cache.
import { buildParts } from './go-program.ts';

for (const complaint of await buildParts()) console.error(complaint);
