"""Run inside a lab host: holds TCP connections to itself, and does with them what its standard input says, one command a line; answers each with the
number of connections that it holds.

    held_sockets.py ADDRESS

    open COUNT       opens so many more
    move             sends a byte on each and receives it
    replace COUNT    closes so many, the oldest first, and opens as many
    close            closes all
    listen COUNT     listens on so many ports more
"""

import collections
import resource
import socket
import sys

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
listener = socket.create_server((sys.argv[1], 0), backlog=64)
held = collections.deque()
listeners = []


def open_more(count):
    for _ in range(count):
        client = socket.create_connection(listener.getsockname())
        held.append((client, listener.accept()[0]))


def close_oldest(count):
    for _ in range(count):
        for end in held.popleft():
            end.close()


def main():
    for line in sys.stdin:
        command, *words = line.split()
        count = int(words[0]) if words else 0
        if command == "open":
            open_more(count)
        elif command == "move":
            for client, server in held:
                client.send(b"x")
                server.recv(1)
        elif command == "replace":
            close_oldest(count)
            open_more(count)
        elif command == "close":
            close_oldest(len(held))
        elif command == "listen":
            listeners.extend(socket.create_server((sys.argv[1], 0)) for _ in range(count))
        print(len(held), flush=True)


main()
