"""Where media sockets are opened, and which STUN and TURN servers are asked.

Owns settings as values and their parsing; opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tapedeck.core.errors import InvalidError

__all__ = ["IceServer", "NetworkSettings", "parse_ice_servers"]

_URL = re.compile(
    r"(?P<scheme>stun|turns?):(?:(?P<user>[^:@]*):(?P<password>[^@]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:]+\]|[^\s:?@/\[\]]+)(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server to contact."""

    host: str
    port: int
    turn: bool = False
    tls: bool = False
    transport: str = "udp"
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where media sockets are opened."""

    hosts: tuple[str, ...] = ()
    "Addresses to bind and offer; empty takes those of the machine, loopback only if there is no other."
    ports: tuple[int, int] | None = None
    "Lowest and highest UDP port; None takes any free one."
    ice_servers: tuple[str, ...] = field(default=(), repr=False)
    "STUN and TURN URLs; none is contacted unless named here."
    servers: tuple[IceServer, ...] = field(init=False)
    "The same, parsed."

    def __post_init__(self) -> None:
        """InvalidError for a URL that is none."""
        object.__setattr__(self, "servers", parse_ice_servers(self.ice_servers))


def parse_ice_servers(urls: Sequence[str]) -> tuple[IceServer, ...]:
    """Servers of `stun:host[:port]`, `turn:user:password@host[:port][?transport=tcp]` and `turns:` URLs (RFC 7065).

    Raises InvalidError, without repeating credentials.
    """
    servers = []
    for url in urls:
        match = _URL.fullmatch(url)
        scheme = url.partition(":")[0]
        if match is None:
            raise InvalidError(
                f"not a STUN or TURN URL ({scheme}:...): use stun:host:port or turn:user:password@host:port"
            )
        turn = scheme != "stun"
        if turn and not match["user"]:
            raise InvalidError(f"{scheme}:{match['host']}: a TURN server needs user:password@ in front of its name")
        port = int(match["port"] or (5349 if scheme == "turns" else 3478))
        transport = match["transport"] or ("tcp" if scheme == "turns" else "udp")
        servers.append(
            IceServer(
                match["host"].strip("[]"),
                port,
                turn,
                scheme == "turns",
                transport,
                match["user"] or "",
                match["password"] or "",
            )
        )
    return tuple(servers)
