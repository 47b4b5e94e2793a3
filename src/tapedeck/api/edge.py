"""What is true of every request: CORS where browsers come from elsewhere, safe headers, no error without an answer."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapedeck.api.errors import server_fault

__all__ = ["Edge"]

_log = logging.getLogger(__name__)

_OPEN = ("/v2/", "/rtc/", "/hls/")
"""Routes that pages of any origin may call: they authenticate by header, or by the address itself, never by cookie."""
_EXPOSED = "Location, ETag, Link, Accept-Patch, Retry-After, Content-Range"


class Edge:
    """The outermost layer of the application (plain ASGI, so that it costs next to nothing)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        is_open = path.startswith(_OPEN)
        if is_open and scope["method"] == "OPTIONS":
            await _preflight(Headers(scope=scope), path)(scope, receive, send)
            return
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("cache-control", "no-store")
                if is_open:
                    headers["access-control-allow-origin"] = "*"
                    headers["access-control-expose-headers"] = _EXPOSED
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except ClientDisconnect:
            _log.debug("the client went away", extra={"action": "client_gone", "method": scope["method"]})
        except Exception:
            _log.exception("unexpected error", extra={"action": "unexpected_error", "method": scope["method"]})
            if started:
                raise
            await server_fault(scope["method"], path)(scope, receive, send_on)


def _preflight(headers: Headers, path: str) -> Response:
    answer = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "access-control-allow-headers": headers.get(
            "access-control-request-headers", "authorization, content-type, if-match"
        ),
        "access-control-expose-headers": _EXPOSED,
        "access-control-max-age": "86400",
        "vary": "access-control-request-headers",
    }
    if path.startswith("/rtc/"):
        answer["accept-post"] = "application/sdp"
    return Response(status_code=204, headers=answer)
