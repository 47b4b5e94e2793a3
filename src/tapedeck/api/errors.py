"""Errors to HTTP: the one place where an `ErrorKind` becomes a status, and where every error body is made."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.http import Reply
from tapedeck.core.errors import ErrorKind, InvalidError, LimitError, TapedeckError, UnavailableError
from tapedeck.core.library import status_of as word_of
from tapedeck.core.recording import WrongStateError
from tapedeck.shapes import rooms
from tapedeck.shapes.realtimekit import STATUS, error_body

__all__ = ["FIELD_STATUS", "error_reply", "install", "is_rooms", "server_fault", "status_of"]

FIELD_STATUS = "field_status"
"""Attribute of `request.state`: the status of a request whose fields are wrong, where it is not 400."""

_log = logging.getLogger(__name__)

_STATUS = {
    ErrorKind.INVALID: 400,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.DENIED: 403,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.LIMIT: 413,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.DESTINATION: 502,
    ErrorKind.MEDIA: 500,
    ErrorKind.INTERNAL: 500,
}
_ROOMS = "/api/v1/"
_AUTH_CODE = 10000
_NO_ROUTE_CODE = 7003
_RETRIED = (408, 429)
"""Client errors that the SDK may try again."""


def install(app: FastAPI) -> None:
    """Have an application answer errors in the API's shape."""
    app.add_exception_handler(TapedeckError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def is_rooms(request: Request) -> bool:
    """Whether it is a request of the rooms API, which has errors of its own shape."""
    return request.url.path.startswith(_ROOMS)


def status_of(error: TapedeckError) -> int:
    """The status that an error is answered with, if nothing special is known of it."""
    return _STATUS[error.kind]


def error_reply(error: TapedeckError, request: Request) -> Response:
    """The answer to an error that was raised on purpose."""
    status = _STATUS[error.kind]
    headers: dict[str, str] = {}
    problems = error.problems if isinstance(error, InvalidError) else ()
    message = str(error)
    final = status < 500
    if problems:
        status = getattr(request.state, FIELD_STATUS, status)
    if isinstance(error, WrongStateError):
        state = word_of(error.state) if is_rooms(request) else STATUS[error.state]
        message = f"Cannot {error.action} a recording in state {state}"
    elif isinstance(error, LimitError) and error.retry_after_s is not None:
        status, final = 429, False
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, UnavailableError):
        # Without a time to come back the request has left something behind: doing it again would do it twice.
        final = error.retry_after_s is None
        headers["retry-after"] = str(error.retry_after_s or 5)
    if is_rooms(request):
        if status == 502:
            status = 500  # the contract of the rooms API has no other for what is not the caller's fault
        return Reply(rooms.error_body(status, message), status, headers)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if final:
        headers["x-should-retry"] = "false"
    code = _AUTH_CODE if status in (401, 403) else status
    return Reply(error_body(status, message, code, problems), status, headers)


def server_fault(request_method: str, path: str = "") -> Response:
    """The answer to an error that nobody expected: no detail, since it may hold anything."""
    if path.startswith(_ROOMS):
        return Reply(rooms.error_body(500, "Internal server error"), 500)
    headers = {} if request_method in ("GET", "HEAD") else {"x-should-retry": "false"}
    return Reply(error_body(500, "Internal server error", 500), 500, headers)


async def _on_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, TapedeckError)
    reply = error_reply(exc, request)
    if reply.status_code >= 500:
        ours = exc.kind in (ErrorKind.INTERNAL, ErrorKind.MEDIA)  # the others are the world's, and their text says all
        more = {"action": "request_failed", "status": reply.status_code, "reason": str(exc)}
        _log.error("request failed", exc_info=exc if ours else None, extra=more)
    return reply


async def _on_http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    status = exc.status_code
    message, code = str(exc.detail), status
    if status == 404:
        message, code = "No route for the URI", _NO_ROUTE_CODE
    elif status == 405:
        message = "Method not allowed"
    headers = dict(exc.headers or {})
    if is_rooms(request):
        return Reply(rooms.error_body(status, "There is no such route" if status == 404 else message), status, headers)
    if 400 <= status < 500 and status not in _RETRIED:
        headers["x-should-retry"] = "false"
    return Reply(error_body(status, message, code), status, headers)
