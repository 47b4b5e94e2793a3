"""The HTTP under boto3, with what it lacks: sockets that the guard makes, and an end of every answer.

The only user of private names of botocore and urllib3, held by the tests.
"""

from __future__ import annotations

import time
from typing import Any

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import NewConnectionError

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.faults import MOST_ANSWER_BYTES, strange

__all__ = ["bounded_session"]

_CONNECT_S = 10.0
_PIECE = 64
"""Of an answer, which is a few hundred bytes."""
_BLOCK = 1 << 18
"""A part is sent in such pieces: with urllib3's own, of 16 KiB, threads do little but wait for each other."""


def bounded_session(guard: Guard, read_timeout_s: float, connections: int) -> URLLib3Session:
    """boto3's HTTP with sockets made by the guard, without proxies, and with answers that end."""

    class Plain(AWSHTTPConnection):  # type: ignore[misc] # untyped
        def _new_conn(self) -> Any:
            return _dial(self, guard)

    class Secure(AWSHTTPSConnection):  # type: ignore[misc] # untyped
        def _new_conn(self) -> Any:
            return _dial(self, guard)

    class PlainPool(AWSHTTPConnectionPool):  # type: ignore[misc] # untyped
        ConnectionCls = Plain

    class SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc] # untyped
        ConnectionCls = Secure

    class Bounded(URLLib3Session):  # type: ignore[misc] # untyped
        def send(self, request: Any) -> Any:
            streams, request.stream_output = request.stream_output, True
            try:
                answer = super().send(request)
            finally:
                request.stream_output = streams
            if not streams or answer.status_code >= 300:
                answer._content = _whole(answer.raw, read_timeout_s)
            return answer

    session = Bounded(timeout=(_CONNECT_S, read_timeout_s), max_pool_connections=connections)
    session._manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    session._manager.connection_pool_kw["blocksize"] = _BLOCK
    return session


def _whole(raw: Any, within_s: float) -> bytes:
    """All of an answer that is no object. DestinationError when it is longer than any store's; TimeoutError."""
    found, until = bytearray(), time.monotonic() + within_s
    for piece in raw.stream(_PIECE):  # which waits for each to be full
        found += piece
        if len(found) > MOST_ANSWER_BYTES:
            raw.close()
            raise strange()
        if time.monotonic() > until:
            raw.close()
            raise TimeoutError
    return bytes(found)


def _dial(connection: Any, guard: Guard) -> Any:
    try:
        return guard.connect(connection._dns_host, connection.port, _CONNECT_S)
    except OSError as exc:
        raise NewConnectionError(connection, f"no connection: {exc}") from exc
