"""Where this server may connect on somebody else's behalf: pure decisions about addresses and URLs.

Refuses to resolve a name: whoever connects asks about the address that is really dialled, so that no answer of a name
server can change between the question and the use.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from tapedeck.core.errors import DestinationError, InvalidError

__all__ = [
    "URL_LIMIT",
    "RefusedTargetError",
    "UnreachableError",
    "is_public",
    "is_public_text",
    "named_privately",
    "read_url",
    "url_problem",
]

URL_LIMIT = 2048
"""Longest URL in characters."""

_TUNNELS = tuple(ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380): an IPv4 address, perhaps private, in disguise."""
_PRIVATE_NAMES = ("localhost", "local", "internal", "home.arpa")


class RefusedTargetError(DestinationError):
    """The target is one that this server does not connect to. Trying again changes nothing."""


class UnreachableError(DestinationError):
    """No answer came: the network, the name, TLS or the time-out. Trying again may help."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet, for certain.

    Loopback, private, link-local (cloud metadata too), shared, reserved and multicast addresses are not, nor is one
    that carries an IPv4 address inside.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in tunnel for tunnel in _TUNNELS):
            return False
        if address.packed[:12] == bytes(12):  # IPv4-compatible, deprecated by RFC 4291
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_public_text(text: str) -> bool:
    """The same of an address as text, a zone (`%eth0`) allowed; what is no address is not public."""
    try:
        return is_public(ip_address(text.split("%")[0]))
    except ValueError:
        return False


def read_url(url: str, schemes: Sequence[str]) -> SplitResult:
    """A URL taken apart. InvalidError with the end of a sentence when it is none of these schemes with a host and no
    more than that: what clients read in different ways is no URL here.
    """
    if len(url) > URL_LIMIT:
        raise InvalidError(f"must have at most {URL_LIMIT} characters")
    if not url.isprintable() or any(c.isspace() for c in url) or "\\" in url:
        raise InvalidError("must be a valid uri")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidError("must be a valid uri") from exc
    if parts.scheme not in schemes or not host or port == 0:
        *others, last = schemes
        raise InvalidError(f"must be a valid uri with the scheme {', '.join(others)} or {last}")
    if parts.username is not None or parts.password is not None:
        raise InvalidError("must not have a user name or password in it")
    return parts


def url_problem(url: str) -> str | None:
    """What is wrong with the URL of an endpoint, as the end of a sentence; None when nothing is."""
    try:
        read_url(url, ("http", "https"))
    except InvalidError as exc:
        return str(exc)
    return None


def named_privately(url: str) -> bool:
    """Whether a URL says in so many words that it means a private place: its address, or a name such as `localhost`.

    For an early, clear refusal only: any other name may lead to a private address as well.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return not is_public(ip_address(host.split("%")[0]))
    except ValueError:
        return host in _PRIVATE_NAMES or host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES))
