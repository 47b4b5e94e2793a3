"""Tells the service what has happened for as long as the database cannot be written: news that must not be lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from tapedeck.core.errors import NotFoundError
from tapedeck.core.recording import WrongStateError

__all__ = ["FIRST_DELAY_S", "insist"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 300.0


async def insist(
    call: Callable[[], Awaitable[T]],
    what: str,
    *,
    first_delay_s: float = FIRST_DELAY_S,
    longest_delay_s: float = _LONGEST_DELAY_S,
    over: asyncio.Event | None = None,
    **about: str,
) -> T | None:
    """Call until it succeeds, with pauses that grow; `call` may have been done in part before.

    None when it comes too late: the object is gone or in another state, or `over` was set. `what` the news is
    of (a film, a page) is logged, with `about`. Raises nothing but for cancellation.
    """
    delay_s = first_delay_s
    while True:
        try:
            return await call()
        except (WrongStateError, NotFoundError) as exc:
            log.info("news.late", what=what, reason=str(exc), **about)
            return None
        except Exception:
            log.exception("news.not_noted", what=what, retry_in_s=delay_s, **about)
        if over is None:
            await asyncio.sleep(delay_s)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await over.wait()
            if over.is_set():
                return None
        delay_s = min(delay_s * 2, longest_delay_s)
