"""Holds UDP sockets and does with them what its standard input says, one command a line; answers each with one line of numbers. The first
line is its process id.

    open ADDRESS PORT [RECEIVE_BUFFER]     number of the socket; PORT 0 takes a free one
    connect SOCKET ADDRESS PORT            own port
    port SOCKET                            own port
    merge SOCKET                           0; from now on the kernel may hand over several datagrams at once (UDP_GRO)
    send SOCKET COUNT BYTES                bytes; to the peer that it is connected to
    send SOCKET COUNT BYTES ADDRESS PORT   bytes
    split SOCKET BYTES SEGMENT ADDRESS PORT    bytes; one call, cut into datagrams by the kernel (UDP_SEGMENT)
    spread SOCKET COUNT ADDRESS PORT       datagrams; an empty one to each of COUNT ports from PORT on
    receive SOCKET BYTES                   bytes, datagrams; waits until so many bytes were received
    drain SOCKET                           bytes, datagrams; of what has arrived
    close SOCKET                           0
"""

import os
import socket
import struct
import sys

UDP_SEGMENT = 103
UDP_GRO = 104


def count_datagrams(byte_count, ancillary):
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_UDP and kind == UDP_GRO:
            segment = struct.unpack("i", data)[0]
            return (byte_count + segment - 1) // segment
    return 1


def receive(held, byte_count):
    received = datagrams = 0
    while byte_count is None or received < byte_count:
        try:
            data, ancillary, _, _ = held.recvmsg(1 << 16, 64, 0 if byte_count is not None else socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionRefusedError):
            break
        received += len(data)
        datagrams += count_datagrams(len(data), ancillary)
    return f"{received} {datagrams}"


def send(held, count, byte_count, peer):
    data = b"d" * byte_count
    for _ in range(count):
        try:
            held.sendto(data, peer) if peer else held.send(data)
        except ConnectionRefusedError:
            # The error of an earlier datagram: this one was not sent.
            held.sendto(data, peer) if peer else held.send(data)
    return count * byte_count


def spread(held, count, address, port):
    for number in range(count):
        held.sendto(b"", (address, port + number))
    return count


def main():
    sockets = []
    for line in sys.stdin:
        command, *words = line.split()
        if command == "open":
            address, port, *buffer = words
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            if buffer:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer[0]))
            made.bind((address, int(port)))
            sockets.append(made)
            answer = len(sockets) - 1
        else:
            held = sockets[int(words[0])]
            if command == "connect":
                held.connect((words[1], int(words[2])))
                answer = held.getsockname()[1]
            elif command == "port":
                answer = held.getsockname()[1]
            elif command == "merge":
                held.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
                answer = 0
            elif command == "send":
                answer = send(held, int(words[1]), int(words[2]), (words[3], int(words[4])) if len(words) > 3 else None)
            elif command == "split":
                segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", int(words[2])))]
                answer = held.sendmsg([b"d" * int(words[1])], segment, 0, (words[3], int(words[4])))
            elif command == "spread":
                answer = spread(held, int(words[1]), words[2], int(words[3]))
            elif command == "receive":
                answer = receive(held, int(words[1]))
            elif command == "drain":
                answer = receive(held, None)
            elif command == "close":
                held.close()
                answer = 0
            else:
                raise ValueError(command)
        print(answer, flush=True)


print(os.getpid(), flush=True)
main()
