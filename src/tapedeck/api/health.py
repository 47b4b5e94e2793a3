"""Whether this process lives, and whether it can do its work. No token needed, nothing private told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from tapedeck.api import openapi
from tapedeck.api.chapters import HEALTH
from tapedeck.api.describe import Who, describe
from tapedeck.api.http import Reply
from tapedeck.core.errors import TapedeckError
from tapedeck.shapes import answers

__all__ = ["Check", "add_description", "add_routes"]

Check = Callable[[], Awaitable[None]]
"""Returns when a part works; raises TapedeckError when it does not."""

_log = logging.getLogger(__name__)


def add_routes(routes: APIRouter, checks: Mapping[str, Check]) -> None:
    """`/health/live` answers always; `/health/ready` asks every named part."""

    @routes.get("/health/live")
    @describe(HEALTH, "Whether the process lives", Who.NOBODY, plain=answers.Health)
    async def live() -> Response:
        return Reply({"status": "ok"})

    @routes.get("/health/ready")
    @describe(
        HEALTH,
        "Whether each part does its work",
        Who.NOBODY,
        plain=answers.Readiness,
        same={503: "One does not."},
    )
    async def ready() -> Response:
        results: dict[str, str] = {}
        for name, check in checks.items():
            try:
                await check()
                results[name] = "ok"
            except TapedeckError as exc:
                _log.warning("a part is not ready", extra={"action": "not_ready", "part": name, "reason": str(exc)})
                results[name] = "failed"
        ok = all(result == "ok" for result in results.values())
        return Reply({"status": "ok" if ok else "failed", "checks": results}, 200 if ok else 503)


def add_description(routes: APIRouter) -> None:
    """`/openapi.json`: what all routes say of themselves. Made when it is first asked for, since it takes a while."""
    made: asyncio.Task[Response] | None = None

    async def make() -> Response:
        return Reply(await asyncio.to_thread(openapi.build, routes.routes))

    @routes.get("/openapi.json")
    @describe(HEALTH, "This description", Who.NOBODY, plain=dict[str, Any])
    async def description() -> Response:
        nonlocal made
        made = made or asyncio.create_task(make())
        return Response((await asyncio.shield(made)).body, media_type="application/json")
