"""The part of the composition root that knows browsers: which one is used, and whether a page may be recorded."""

from __future__ import annotations

from tapedeck.adapters.browser.browsers import Chromiums
from tapedeck.adapters.browser.chromium import find_chromium
from tapedeck.adapters.clock import SystemClock
from tapedeck.config import Settings
from tapedeck.core.egress import named_privately
from tapedeck.db.engine import Database
from tapedeck.service.access import AccessService
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService
from tapedeck.service.pages import PageService
from tapedeck.sources.whip import WhipServer
from tapedeck.workers.capture import CaptureHost
from tapedeck.workers.pages import PageWorker

__all__ = ["Browsing", "tell_browser"]


class Browsing:
    """The browsers of a node."""

    def __init__(self, settings: Settings) -> None:
        self._allow_private = settings.allow_private_urls
        self._browsers = _browsers(settings)

    def page_problem(self, url: str) -> str | None:
        """Why the page of an address cannot be recorded here, as the end of a sentence; None if it may be."""
        if not self._allow_private and named_privately(url):
            return "it is a private address, and this server is not allowed to open it"
        return self._browsers.problem()

    def worker(
        self,
        db: Database,
        clock: SystemClock,
        access: AccessService,
        ledger: Ledger,
        lifecycle: LifecycleService,
        whip: WhipServer,
        capture: CaptureHost,
    ) -> PageWorker:
        """What records pages."""
        return PageWorker(
            pages=PageService(db, clock, access),
            browsers=self._browsers,
            taker=whip,
            hearer=capture,
            lifecycle=lifecycle,
            ledger=ledger,
            clock=clock,
        )


def tell_browser(settings: Settings) -> tuple[bool, str]:
    """Whether web pages can be recorded on this machine, and a sentence about it."""
    problem = _browsers(settings).problem()
    if problem is None:
        return True, f"web pages are recorded with {find_chromium(settings.browser)}"
    return False, f"no web page can be recorded: {problem}"


def _browsers(settings: Settings) -> Chromiums:
    return Chromiums(
        settings.browser,
        sandbox=settings.browser_sandbox == "on",
        memory_bytes=settings.browser_memory_mb << 20,
        allow_private=settings.allow_private_urls,
        owner=str(settings.data_dir.resolve()),
    )
