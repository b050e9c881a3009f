"""Run inside a lab host that routes: every packet that arrives at eth0 leaves DELAY_MS later, in order. Prints a line when it is ready.

    delayed_link.py DELAY_MS

A rule sends what arrives to one TUN device; it is written to another one after the delay, and routed on as usual.
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
TABLE = "100"


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return tun


def main():
    delay = float(sys.argv[1]) / 1000
    entry, leave = open_tun("late0"), open_tun("late1")
    for setting in (
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.eth0.rp_filter=0",
        "net.ipv4.conf.late1.rp_filter=0",
        "net.ipv4.conf.all.send_redirects=0",
        "net.ipv4.conf.eth0.send_redirects=0",
    ):
        subprocess.run(["sysctl", "-q", "-w", setting], check=True)
    subprocess.run(["ip", "route", "add", "default", "dev", "late0", "table", TABLE], check=True)
    subprocess.run(["ip", "rule", "add", "iif", "eth0", "lookup", TABLE], check=True)
    print("ready", flush=True)
    waiting = collections.deque()
    while True:
        timeout = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([entry], [], [], timeout)[0]:
            try:
                while True:
                    waiting.append((time.monotonic() + delay, os.read(entry, 65536)))
            except BlockingIOError:
                pass
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(leave, waiting.popleft()[1])


main()
