"""Connections on somebody else's behalf, for blocking callers: each address is looked at when it is dialled.

A name is resolved once per connection and the socket is made for the very address that was checked, so a name server
that answers differently the second time gains nothing. Apart from `egress`, which serves aiohttp too, so that a process
that only connects need not load it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tapedeck.core.egress import is_public_text

__all__ = ["REFUSED", "Dialler", "LookUp", "RefusedAddressError", "in_turn"]

T = TypeVar("T")

LookUp = Callable[[str, int, int], list[tuple[int, int, str]]]
"""Name, port and address family to (family, protocol, address)."""
_LEAST_S = 2.0
"""For one address of several: far servers need half a second, and one packet of the way may be lost."""
REFUSED = "the address is private, and this server is not allowed to connect there"


class RefusedAddressError(OSError):
    """Raised where the socket would be made."""


class Dialler:
    """`allow_private`: private and loopback addresses too. `look_up`: what resolves names; default the system."""

    def __init__(self, allow_private: bool = False, look_up: LookUp | None = None) -> None:
        self._allow_private = allow_private
        self._look_up = look_up or _look_up

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connected socket, from the thread that asks, within `timeout_s` however many addresses the name has.

        RefusedAddressError; OSError as of `socket`.
        """
        found = self._look_up(host.strip("[]"), port, 0)
        failure: OSError | None = None
        for (family, protocol, address), share_s in in_turn(found, timeout_s):
            try:
                self.check(address)
                made = socket.socket(family, socket.SOCK_STREAM, protocol)
            except OSError as exc:
                failure = exc
                continue
            try:
                made.settimeout(share_s)
                made.connect((address, port))
                made.settimeout(timeout_s)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as exc:
                made.close()
                failure = exc
                continue
            return made
        raise failure or OSError(f"the name {host} has no address")

    def addresses(self, host: str, port: int) -> Iterator[tuple[int, str]]:
        """Families and addresses of a name that may be dialled, for who makes his own socket. Errors as `connect`."""
        found = self._look_up(host.strip("[]"), port, 0)
        allowed = [(family, address) for family, _, address in found if self._allows(address)]
        if found and not allowed:
            raise RefusedAddressError(REFUSED)
        yield from allowed

    def check(self, address: str) -> None:
        """RefusedAddressError where it must not be dialled."""
        if not self._allows(address):
            raise RefusedAddressError(REFUSED)

    def _allows(self, address: str) -> bool:
        return self._allow_private or is_public_text(address)


def in_turn(addresses: Sequence[T], timeout_s: float) -> Iterator[tuple[T, float]]:
    """Each with the time that it may take (s), so that all together take no more than `timeout_s`: the last ones may
    have none. Where one is refused at once the others have its time."""
    until = time.monotonic() + timeout_s
    for number, address in enumerate(addresses):
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        yield address, min(left_s, max(left_s / (len(addresses) - number), _LEAST_S))


def _look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
    """Ask the system. `socket.gaierror`."""
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError as exc:  # a part of the name is empty or longer than 63 characters (RFC 1035 2.3.4)
        raise socket.gaierror(socket.EAI_NONAME, "the name cannot be one of a host") from exc
    return [(kind, protocol, str(address[0])) for kind, _, protocol, _, address in found]
