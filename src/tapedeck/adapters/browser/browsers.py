"""The browsers of this machine: which program, under which limits. Implements `ports.browser.Browsers`."""

from __future__ import annotations

import asyncio
import os
import zlib

from tapedeck.adapters.browser.chromium import Chromium, clear_profiles, find_chromium, sandbox_problem
from tapedeck.adapters.browser.tab import ChromiumPage
from tapedeck.adapters.egress import Guard
from tapedeck.core.errors import UnavailableError
from tapedeck.ports.browser import PageOrder

__all__ = ["Chromiums"]


class Chromiums:
    """Browsers of this machine. Implements `ports.browser.Browsers`."""

    def __init__(
        self,
        path: str = "",
        *,
        sandbox: bool = True,
        memory_bytes: int = 2 << 30,
        disk_bytes: int = 1 << 30,
        allow_private: bool = False,
        guard: Guard | None = None,
        kbps: int = 4000,
        codecs: tuple[str, ...] = ("H264", "VP8"),
        owner: str = "",
    ) -> None:
        """`path`: of the program; default the first that is known. `memory_bytes`, `disk_bytes`: what one browser
        may take. `owner`: whose browsers they are, so that `clear` leaves those of others alone."""
        self._path = path
        self._sandbox = sandbox
        self._memory_bytes = memory_bytes
        self._disk_bytes = disk_bytes
        self._allow_private = allow_private
        self._guard = guard or Guard(allow_private)
        self._kbps = kbps
        self._codecs = codecs
        self._prefix = f"tapedeck-browser-{zlib.crc32(f'{os.getuid()} {owner}'.encode()):08x}-"

    def problem(self) -> str | None:
        """As `Browsers`."""
        if find_chromium(self._path) is None:
            return (
                f"there is no program {self._path} (TAPEDECK_BROWSER)"
                if self._path
                else "Chromium is not installed: install it, or set TAPEDECK_BROWSER to where it is"
            )
        return sandbox_problem() if self._sandbox else None

    async def clear(self) -> None:
        """As `Browsers`."""
        await asyncio.to_thread(clear_profiles, self._prefix)

    async def open(self, order: PageOrder) -> ChromiumPage:
        """As `Browsers`."""
        program = await asyncio.to_thread(find_chromium, self._path)
        if (problem := self.problem()) is not None or program is None:
            raise UnavailableError(f"No web page can be recorded: {problem}")
        page = ChromiumPage(
            Chromium(program, sandbox=self._sandbox, prefix=self._prefix),
            self._guard,
            order,
            guarded=not self._allow_private,
            memory_bytes=self._memory_bytes,
            disk_bytes=self._disk_bytes,
            kbps=self._kbps,
            codecs=self._codecs,
        )
        try:
            await page.open()
        except BaseException:
            await page.aclose()
            raise
        return page
