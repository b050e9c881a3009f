"""Run inside a lab host: holds TCP sockets and does with them what its standard input says, one command a line; answers each with one line.

    listen PORT [BACKLOG] | connect ADDRESS PORT [OWN_PORT] | accept | send SOCKET BYTES | receive SOCKET BYTES | fill SOCKET
    stream SOCKET BYTES | sent SOCKET | rest SOCKET | pass SOCKET | close SOCKET

Sockets are numbered from 0 by connect and accept, whose answer is the number. Other answers are bytes. `fill` writes until the kernel takes no
more; `stream` writes BYTES each millisecond in a thread until `rest`; `pass` hands the socket to another process and closes it here, and
that process goes on with the commands for it.
"""

import array
import os
import socket
import sys
import threading
import time


class Streamer(threading.Thread):
    def __init__(self, peer, byte_count):
        super().__init__(daemon=True)
        self.peer = peer
        self.piece = b"s" * byte_count
        self.running = True
        self.sent = 0

    def run(self):
        while self.running:
            self.peer.sendall(self.piece)
            self.sent += len(self.piece)
            time.sleep(0.001)


class Passed:
    """A socket that another process holds: commands cross a pipe of their own."""

    def __init__(self, held):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.fork() == 0:
            # A copy of any other socket here would keep it open.
            os.closerange(3, theirs.fileno())
            os.closerange(theirs.fileno() + 1, 1024)
            serve_passed(theirs)
        theirs.close()
        descriptor = array.array("i", [held.fileno()])
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
        held.close()
        self.lines = ours.makefile("rw")

    def order(self, command, byte_count):
        self.lines.write(f"{command} {byte_count}\n")
        self.lines.flush()
        return int(self.lines.readline())


def serve_passed(control):
    _, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4))
    held = socket.socket(fileno=array.array("i", ancillary[0][2])[0])
    lines = control.makefile("rw")
    for line in lines:
        command, byte_count = line.split()
        lines.write(f"{work(held, command, int(byte_count))}\n")
        lines.flush()
    os._exit(0)


def work(held, command, byte_count):
    if command == "send":
        held.sendall(b"d" * byte_count)
        return byte_count
    if command == "receive":
        left = byte_count
        while left > 0:
            piece = held.recv(min(left, 1 << 16))
            if not piece:
                break
            left -= len(piece)
        return byte_count - left
    if command == "close":
        held.close()
        return 0
    if command == "fill":
        held.setblocking(False)
        filled = 0
        # The peer's window fills up in the meantime, and makes room here until it is full itself.
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.5:
            try:
                filled += held.send(b"f" * 65536)
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        return filled
    raise ValueError(command)


def main():
    listener = None
    sockets = []
    streamers = {}
    for line in sys.stdin:
        command, *words = line.split()
        if command == "listen":
            backlog = int(words[1]) if len(words) > 1 else 64
            listener = socket.create_server(("", int(words[0])), backlog=backlog)
            answer = 0
        elif command in ("connect", "accept"):
            if command == "accept":
                made = listener.accept()[0]
            else:
                own = ("", int(words[2])) if len(words) > 2 else None
                made = socket.create_connection((words[0], int(words[1])), source_address=own)
            sockets.append(made)
            answer = len(sockets) - 1
        else:
            number = int(words[0])
            held = sockets[number]
            byte_count = int(words[1]) if len(words) > 1 else 0
            if command == "pass":
                sockets[number] = Passed(held)
                answer = 0
            elif command == "stream":
                streamers[number] = Streamer(held, byte_count)
                streamers[number].start()
                answer = 0
            elif command == "sent":
                answer = streamers[number].sent
            elif command == "rest":
                streamers[number].running = False
                streamers[number].join()
                answer = streamers[number].sent
            elif isinstance(held, Passed):
                answer = held.order(command, byte_count)
            else:
                answer = work(held, command, byte_count)
        print(answer, flush=True)


main()
