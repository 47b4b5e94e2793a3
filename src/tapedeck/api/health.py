"""Whether this process lives, and whether it can do its work. No token needed, nothing private told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from starlette.responses import Response

from tapedeck.api.http import Reply
from tapedeck.core.errors import TapedeckError

__all__ = ["Check", "add_routes"]

Check = Callable[[], Awaitable[None]]
"""Returns when a part works; raises TapedeckError when it does not."""

_log = logging.getLogger(__name__)


def add_routes(routes: APIRouter, checks: Mapping[str, Check]) -> None:
    """`/health/live` answers always; `/health/ready` asks every named part."""

    @routes.get("/health/live")
    async def live() -> Response:
        return Reply({"status": "ok"})

    @routes.get("/health/ready")
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
