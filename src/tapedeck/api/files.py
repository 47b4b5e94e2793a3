"""Downloads by signed link: anybody who has the link may GET, HEAD and range over one file until it expires.

One range per request (RFC 9110 14); a request for several is answered with the whole file, as the RFC allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tapedeck.api.chapters import FILES
from tapedeck.api.describe import Param, Raw, Who, describe
from tapedeck.core.errors import DeniedError, InvalidError, NotFoundError
from tapedeck.core.naming import check_key, content_disposition
from tapedeck.core.signing import verify_link
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectInfo, ObjectStore

__all__ = ["add_routes", "range_of"]

_BYTES = Raw("*/*", "The file.", {"etag": "Its entity tag.", "accept-ranges": "bytes"})
_FILE = {200: _BYTES, 206: Raw("*/*", "The range.", {"content-range": "Which."}), 304: None}
_LINK = (
    Param("filename", "The name it is saved under.", {"type": "string"}, required=True),
    Param("expires", "When the link dies, in seconds since 1970.", {"type": "integer"}, required=True),
    Param("signature", "Of all of it.", {"type": "string"}, required=True),
    Param("range", "One range of bytes (RFC 9110).", {"type": "string"}, "header"),
)
_FAILS = {403: "The link is not valid, or has expired.", 416: "The range is not within the file."}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_SECONDS = re.compile(r"[0-9]{1,12}")


def add_routes(routes: APIRouter, store: ObjectStore, link_key: bytes, clock: Clock) -> None:
    """The route that `LocalStore.presign` points to; `link_key` is the same."""

    @routes.api_route("/files/{key:path}", methods=["GET", "HEAD"])
    @describe(FILES, "Download a file, or a range of it", Who.NOBODY, raw=_FILE, query=_LINK, fails=_FAILS)
    async def download(key: str, request: Request) -> Response:
        file_name = _check_link(key, request.query_params, link_key, clock.now())
        info = await store.head(key)
        return _answer(store, info, file_name, request)


def _check_link(key: str, query: Mapping[str, str], link_key: bytes, now: datetime) -> str:
    """The file name the link offers; DeniedError unless the link is ours, untouched and alive."""
    name, expires, signature = (query.get(part, "") for part in ("filename", "expires", "signature"))
    try:
        check_key(key)
    except InvalidError as exc:
        raise NotFoundError("No such file") from exc
    until = int(expires) if _SECONDS.fullmatch(expires) else 0
    if not verify_link(link_key, key, name, until, signature, now):
        raise DeniedError("Forbidden: the link is not valid or has expired")
    return name


def _answer(store: ObjectStore, info: ObjectInfo, file_name: str, request: Request) -> Response:
    size = info.size_bytes
    etag = f'"{size:x}-{int(info.modified.timestamp() * 1_000_000):x}"'
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=3600",
        "content-disposition": content_disposition(file_name),
        "content-security-policy": "default-src 'none'; sandbox",
        "etag": etag,
        "last-modified": format_datetime(info.modified.replace(microsecond=0), usegmt=True),
        "referrer-policy": "no-referrer",
    }
    wanted = request.headers.get("if-none-match", "")
    if wanted == "*" or etag in [tag.strip().removeprefix("W/") for tag in wanted.split(",")]:
        return Response(status_code=304, headers=headers)
    start, end, status = 0, size, 200
    if request.method == "GET" and _still_same(request.headers.get("if-range"), etag, info.modified):
        chosen = range_of(request.headers.get("range", ""), size)
        if chosen is not None:
            start, end = chosen
            if start >= end:
                headers = {"content-range": f"bytes */{size}"}
                raise HTTPException(416, "The range is not within the file", headers)
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=200, headers=headers, media_type=info.content_type)
    return StreamingResponse(store.read(info.key, start, end), status, headers, info.content_type)


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """The bytes `start <= i < end` asked for; None for the whole file, an empty span for what is not there."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if first == "":
        return max(size - int(last), 0), size
    if last != "" and int(last) < int(first):
        return None
    return int(first), size if last == "" else min(int(last) + 1, size)


def _still_same(condition: str | None, etag: str, modified: datetime) -> bool:
    """If-Range: whether the file is still the one the client has a part of."""
    if condition is None or condition == etag:
        return True
    if condition.startswith(('"', "W/")):
        return False
    try:
        return parsedate_to_datetime(condition) == modified.replace(microsecond=0)
    except (ValueError, TypeError):
        return False
