"""A site with recording apps: the pages that tests record, and what they asked it for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tapedeck.sources.synthetic import Look

__all__ = ["Site", "open_site"]

_PAGE = """<!doctype html><meta charset=utf-8><title>show</title>
<style>* {margin: 0} canvas {display: block}</style><canvas></canvas>"""

_SDK = Path(__file__).parents[1] / "sdk/node_modules/@cloudflare/realtimekit-recording-sdk/dist/index.es.js"
"""The recording SDK that applications use; `make test` installs it."""


class Site:
    """Serves on loopback. `asked` has the path and the query of every request."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[web.Request] = []
        self.words: dict[str, str] = {}
        "What pages that listen are told to do, by the name they listen to."

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def show(self, look: Look, path: str = "/show", root: str = "", **plan: Any) -> str:
        """The address of a page that shows somebody; `plan` as in show.js."""
        told = {"rgb": ",".join(map(str, look.rgb)), "pitch": look.pitch_hz, **plan}
        return f"{root or self.root}{path}?plan={quote(json.dumps(told))}"

    async def _show(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        script = Path(__file__).with_name("show.js").read_text("utf-8")
        page = f"{_PAGE}<script>{script}</script>"
        if request.path == "/sdk":
            page += f"<script type=module>{Path(__file__).with_name('sdk.js').read_text('utf-8')}</script>"
        return web.Response(text=page, content_type="text/html")

    async def _sdk(self, request: web.Request) -> web.Response:
        text = await asyncio.to_thread(_SDK.read_text, "utf-8")
        return web.Response(text=text, content_type="text/javascript")

    async def _word(self, request: web.Request) -> web.Response:
        return web.Response(text=self.words.get(request.query_string, ""))

    async def _redirect(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        raise web.HTTPFound(request.query["to"])

    async def _other(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        status, text = int(request.query.get("status", "200")), request.query.get("text", "something")
        return web.Response(status=status, text=text)


@asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    """A site on a free port of loopback."""
    site = Site()
    app = web.Application()
    app.router.add_get("/show", site._show)
    app.router.add_get("/sdk", site._show)
    app.router.add_get("/word", site._word)
    app.router.add_get("/sdk.js", site._sdk)
    app.router.add_get("/redirect", site._redirect)
    app.router.add_route("*", "/{path:.*}", site._other)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()
