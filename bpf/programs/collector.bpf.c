/* All programs of the collector are one object, so that they share the ring and the sockets' states. Each is loaded
 * only where its hook works. */

#include "tcp.h"
#include "listeners.h"
#include "drops.h"
#include "datagrams.h"
#include "dns.h"

char LICENSE[] SEC("license") = "GPL";
