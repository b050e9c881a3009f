"""Run inside a lab host: a TCP client of its own, segment by segment, with an address that the host's kernel does not know and so never answers for.
Does what its standard input says, one command a line; answers each with one line.

    raw_tcp.py INTERFACE OWN_ADDRESS PEER_ADDRESS

    connect PORT                 number of the connection, after the three-way handshake
    send NUMBER BYTES ORDER      bytes; ORDER: indexes of the segments of BYTES bytes, as they are sent, separated by commas
    reset NUMBER OFFSET          0; a reset, OFFSET bytes beyond what was sent
    finished NUMBER              0, once the peer's FIN has come
"""

import socket
import struct
import sys

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FIRST_PORT = 41000

interface, own_address, peer_address = sys.argv[1:]
OWN, PEER = socket.inet_aton(own_address), socket.inet_aton(peer_address)
outgoing = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
# Of the kind that takes the frame's header off.
incoming = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
incoming.bind((interface, 0x0800))


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Connection:
    def __init__(self, number, port):
        self.ports = (FIRST_PORT + number, port)
        self.sequence = 1_000_000 * (number + 1)
        self.acknowledged = 0
        self.transmit(SYN, self.sequence)
        self.sequence += 1
        answer = self.await_flags(SYN | ACK)
        self.acknowledged = answer + 1
        self.transmit(ACK, self.sequence)

    def transmit(self, flags, sequence, payload=b""):
        """Sends one segment. The kernel fills in the length and the checksum of the IP header."""
        fields = (*self.ports, sequence & 0xFFFFFFFF, self.acknowledged & 0xFFFFFFFF, 5 << 4, flags, 65535)
        header = struct.pack(">2H2I2BH", *fields)
        pseudo = OWN + PEER + struct.pack(">2H", socket.IPPROTO_TCP, 20 + len(payload))
        check = checksum(pseudo + header + b"\0\0\0\0" + payload)
        ip = struct.pack(">2B3H2BH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0) + OWN + PEER
        outgoing.sendto(ip + header + struct.pack(">2H", check, 0) + payload, (peer_address, 0))

    def await_flags(self, flags):
        """Sequence number of the next segment of the peer that has all of these flags."""
        while True:
            packet = incoming.recv(1 << 16)
            start = (packet[0] & 15) * 4
            if packet[9] != socket.IPPROTO_TCP or packet[12:20] != PEER + OWN:
                continue
            source, target, sequence, _, _, found = struct.unpack(">2H2I2B", packet[start : start + 14])
            if (target, source) == self.ports and found & flags == flags:
                return sequence

    def send(self, byte_count, order):
        for index in order:
            self.transmit(ACK | PSH, self.sequence + index * byte_count, bytes([index]) * byte_count)
        self.sequence += len(order) * byte_count
        return len(order) * byte_count


def main():
    connections = []
    for line in sys.stdin:
        command, *words = line.split()
        if command == "connect":
            connections.append(Connection(len(connections), int(words[0])))
            answer = len(connections) - 1
        else:
            connection = connections[int(words[0])]
            answer = 0
            if command == "send":
                answer = connection.send(int(words[1]), [int(index) for index in words[2].split(",")])
            elif command == "reset":
                connection.transmit(RST | ACK, connection.sequence + int(words[1]))
            elif command == "finished":
                connection.await_flags(FIN)
        print(answer, flush=True)


main()
