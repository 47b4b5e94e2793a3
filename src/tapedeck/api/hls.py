"""Films over HLS (RFC 8216): playlists, segments, and a page that plays them, all below one signed path.

Whoever has the link has what is below it, so nothing is asked for but the path; the answers are the same for everybody.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from importlib import resources

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.chapters import PLAYING
from tapedeck.api.describe import Param, Raw, Who, describe
from tapedeck.api.errors import error_reply, status_of
from tapedeck.api.files import range_of
from tapedeck.core.errors import DeniedError, NotFoundError
from tapedeck.service.playback import PlaybackService
from tapedeck.service.watching import NotBegunError, Playlist, entity_tag

__all__ = ["add_routes"]

_PLAYLIST, _MEDIA = "application/vnd.apple.mpegurl", "video/mp4"
_FAILS = {
    403: "The link is not valid, or has expired.",
    404: "There is nothing to play (any more).",
}
_SOON = _FAILS | {503: "There is nothing to play yet."}
_RANGED = _SOON | {416: "The range is not within the segment."}
_TEXT = {200: Raw(_PLAYLIST, "The playlist.", {"etag": "Its entity tag."}, "#EXTM3U\n…"), 304: None}
_BYTES = {
    200: Raw(_MEDIA, "The bytes.", {"etag": "Their entity tag.", "accept-ranges": "bytes"}),
    206: Raw(_MEDIA, "The range.", {"content-range": "Which."}),
    304: None,
}
_RANGE = (Param("range", "One range of bytes (RFC 9110).", {"type": "string"}, "header"),)
_NUMBER = re.compile(r"[0-9]{1,9}")
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *"
)
_STATIC = {"player.js": "text/javascript", "player.css": "text/css", "index.html": "text/html"}


def add_routes(routes: APIRouter, playback: PlaybackService) -> None:
    """The routes that links of `playback` point to."""
    texts = {name: (resources.files("tapedeck.player") / name).read_bytes() for name in _STATIC}
    place = "/hls/{link}"

    for name in ("player.js", "player.css"):
        _add_static(routes, name, texts[name])

    @routes.api_route(f"{place}/watch", methods=["GET", "HEAD"])
    @describe(PLAYING, "A page that plays it", Who.NOBODY, raw={200: Raw("text/html", "The page.")}, fails=_FAILS)
    async def watch(link: str, request: Request) -> Response:
        status = 200
        try:
            playback.enter(link)
        except (DeniedError, NotFoundError) as exc:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            status = status_of(exc)  # a person looks: the page says it in words, since its playlist is refused too
        headers = {"content-security-policy": _PAGE_POLICY, "referrer-policy": "no-referrer"}
        return Response(texts["index.html"], status, headers, "text/html")

    @routes.api_route(f"{place}/index.m3u8", methods=["GET", "HEAD"])
    @describe(PLAYING, "The main playlist", Who.NOBODY, raw=_TEXT, fails=_SOON)
    async def main(link: str, request: Request) -> Response:
        return await _text(playback.main(playback.enter(link)), request)

    @routes.api_route(f"{place}/media.m3u8", methods=["GET", "HEAD"])
    @describe(
        PLAYING,
        "The media playlist",
        Who.NOBODY,
        raw=_TEXT,
        fails=_SOON,
        about="`EVENT` while the film is made: from its first second on, and a segment more every two seconds. "
        "`VOD` with `EXT-X-ENDLIST` when it is finished.",
    )
    async def media(link: str, request: Request) -> Response:
        return await _text(playback.media(playback.enter(link)), request)

    @routes.api_route(f"{place}/init-{{run}}.mp4", methods=["GET", "HEAD"])
    @describe(PLAYING, "What is read before segments", Who.NOBODY, raw=_BYTES, query=_RANGE, fails=_RANGED)
    async def init(link: str, run: str, request: Request) -> Response:
        return await _bytes(playback.init(playback.enter(link), _number(run)), request)

    @routes.api_route(f"{place}/{{number}}.m4s", methods=["GET", "HEAD"])
    @describe(PLAYING, "A segment", Who.NOBODY, raw=_BYTES, query=_RANGE, fails=_RANGED)
    async def segment(link: str, number: str, request: Request) -> Response:
        # Who asks again whether it is still the same has loaded it before; who asks how long it is loads nothing.
        is_loaded = request.method == "GET" and "if-none-match" not in request.headers
        found = playback.segment(playback.enter(link), _number(number), is_loaded=is_loaded)
        return await _bytes(found, request)


def _add_static(routes: APIRouter, name: str, text: bytes) -> None:
    @routes.api_route(f"/hls/{name}", methods=["GET", "HEAD"], name=name)
    @describe(PLAYING, f"The player's {name}", Who.NOBODY, raw={200: Raw(_STATIC[name], "It."), 304: None})
    async def static(request: Request) -> Response:
        return _cached(text, _STATIC[name], "public, no-cache", request)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NotFoundError("There is no such segment")
    return int(text)


async def _text(text: Awaitable[Playlist], request: Request) -> Response:
    """A playlist: asked for again and again, so one that did not change is not sent again."""
    try:
        found = await text
    except NotBegunError as exc:
        return error_reply(exc, request)  # answered here, and not noted as an error, once a second and player
    return _cached(found.data, _PLAYLIST, "private, no-cache", request, found.etag)


def _cached(data: bytes, media_type: str, cache: str, request: Request, etag: str | None = None) -> Response:
    etag = entity_tag(data) if etag is None else etag
    headers = {"etag": etag, "cache-control": cache, "referrer-policy": "no-referrer"}
    if _is_known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)


async def _bytes(found: Awaitable[bytes], request: Request) -> Response:
    """A piece of media, or a range of it. What a segment holds never changes while its link lives."""
    try:
        data = await found
    except NotBegunError as exc:
        return error_reply(exc, request)
    etag = entity_tag(data)
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=3600",
        "etag": etag,
        "referrer-policy": "no-referrer",
    }
    if _is_known(request, etag):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range", "") if request.method == "GET" else ""
    chosen = range_of(wanted, len(data)) if request.headers.get("if-range", etag) == etag else None
    if chosen is None:
        return Response(data, headers=headers, media_type=_MEDIA)
    start, end = chosen
    if start >= end:
        raise HTTPException(416, "The range is not within the segment", {"content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], 206, headers, _MEDIA)


def _is_known(request: Request, etag: str) -> bool:
    wanted = request.headers.get("if-none-match", "")
    return wanted == "*" or etag in [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
