/* The collector for kernels and settings where collector.bpf.o cannot follow TCP: the programs of tcp.h are built on
 * views of sockets, which tracepoints and kprobes make. What needs no state in sockets (drops, datagrams) is the same.
 */

#define SOCKET_VIEWS

#include "collector.bpf.c"
#include "tcp_kprobes.h"
