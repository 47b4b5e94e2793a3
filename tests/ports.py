"""Ports for servers that must be told one: each is given once, and nobody else is given it meanwhile.

A port that a probe had for a moment is anybody's until the server has it: the kernel gives it to the next process that
asks for any. These lie below those that it gives, and every process of a test run takes them from a part of its own.
"""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack
from itertools import count
from pathlib import Path

__all__ = ["free_port"]

_LOWEST, _PARTS = 20_000, 4


def _part() -> range:
    """The ports of this process: part 0 is for one that runs tests alone, the others for workers beside it."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = int(given.read_text().split()[0]) if given.exists() else 32_768
    if end < _LOWEST + 4000:
        return range(_LOWEST, 65_536)  # the kernel gives almost all: there is nothing better
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw") or -1) + 1
    size = (end - _LOWEST) // _PARTS
    return range(_LOWEST + number % _PARTS * size, _LOWEST + (number % _PARTS + 1) * size)


_PORTS = _part()
_NEXT = count(random.randrange(len(_PORTS)))


def free_port() -> int:
    """A port of this machine that nobody has, for TCP and UDP at every address."""
    for _ in _PORTS:
        port = _PORTS[next(_NEXT) % len(_PORTS)]
        with ExitStack() as stack:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("", port))
            except OSError:
                continue
            return port
    raise OSError("every port is in use")
