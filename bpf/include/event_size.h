#pragma once

/* The largest record of the ring, whatever its type: who reads the ring has room for it (bpf/addon/index.ts has it
 * too). */
#define EVENT_BYTES_MAX 4352
