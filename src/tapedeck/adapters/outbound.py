"""The way out: an HTTP client session whose sockets are made only for addresses that were looked at.

The guard of `adapters/egress.py` looks at them; TLS still verifies the name. Follows no redirect by itself, uses no
proxy of the environment, keeps no cookie. Refuses to know what is sent or fetched (`adapters/poster.py`,
`adapters/fetcher.py`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator

import aiohttp

from tapedeck.adapters.egress import REFUSED, Guard, LookUp, is_refusal
from tapedeck.core.egress import RefusedTargetError, UnreachableError

__all__ = ["Outbound", "mapped"]


class Outbound:
    """One session, made on first use since it belongs to a running loop. Whoever uses it bounds how much is open."""

    def __init__(
        self, allow_private: bool = False, timeout_s: float = 3.0, look_up: LookUp | None = None, names_kept_s: int = 10
    ) -> None:
        """`allow_private`: private and loopback addresses too. `timeout_s`: for everything about one request.

        `look_up`: what resolves names, in a thread; default the system. `names_kept_s`: how long it is believed.
        """
        self.timeout_s = timeout_s
        self._guard = Guard(allow_private, look_up, names_kept_s)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> aiohttp.ClientSession:
        """The session."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._guard.connector(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self.timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "Tapedeck"},
                auto_decompress=False,
            )
        return self._session

    async def aclose(self) -> None:
        """End what is under way and close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


@contextlib.contextmanager
def mapped(timeout_s: float) -> Iterator[None]:
    """What the library raises, in our words: RefusedTargetError and UnreachableError."""
    try:
        yield
    except TimeoutError as exc:
        raise UnreachableError(f"no answer within {timeout_s:g} s") from exc
    except aiohttp.ClientConnectorError as exc:
        if is_refusal(exc.os_error):
            raise RefusedTargetError(REFUSED) from exc
        raise UnreachableError(f"no connection: {_reason(exc.os_error)}") from exc
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
        raise RefusedTargetError("the url cannot be used") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise UnreachableError(f"the connection broke: {type(exc).__name__}") from exc


def _reason(error: OSError) -> str:
    """Why nothing answers. Asyncio's own text has the address that a name stands for, which is not everybody's."""
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return error.strerror or type(error).__name__
    return os.strerror(error.errno) if error.errno else type(error).__name__
