"""A recorded page: the tab that shows it, and the tab beside it that captures picture and sound of the first.

The capture begins before the page is there, in a document of our own, so nothing the page does (its policies, its
redirects, another document) can end or disturb it; and nothing it asks for leaves by another way than the gateway
(`gateway.py`). Implements `ports.browser`. Refuses to judge what a page says (`core/page.py`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tapedeck.adapters.browser.chromium import Chromium, to_the_end
from tapedeck.adapters.browser.devtools import BrowserGoneError, ProtocolError
from tapedeck.adapters.browser.gateway import Gateway
from tapedeck.adapters.egress import Guard
from tapedeck.core.errors import UnavailableError
from tapedeck.core.page import PageEvent, PageFact, PageLook
from tapedeck.ports.browser import PageOrder

__all__ = ["ChromiumPage"]

_HOME = "https://recorder.invalid/"
"""The recorder's own document; the name is reserved (RFC 2606) and nothing is asked of it."""
_CAPTURE_S = 30.0
_NAVIGATE_S = 60.0
_LOOK_S = 10.0
_LIMITS_EVERY_S = 1.0
_DISK_EVERY = 3
"""Looks at memory for one at the disk, which is filled more slowly."""
_EVENTS = 1000
_SLIT = (320, 40)
"""A window that has no room for its page. The page has its own size and is captured whole; to paint the window as well,
which nobody sees, would cost a third of what capturing costs."""
_TEXT_LIMIT = 1 << 16

_LOOK = """(() => {
  const of = (name) => { try { return window[name]; } catch { return undefined; } };
  const deck = of("realtimeKitRecording") ?? of("dyteRecording");
  let ended = false;
  try { ended = deck?.isMeetingEnded?.() === true; } catch {}
  const trigger = of("triggerRealtimeKitRecording") ?? of("triggerDyteRecording");
  return [typeof trigger === "boolean" ? trigger : null, ended];
})()"""
_STATUS = 'performance.getEntriesByType("navigation")[0]?.responseStatus'
"""Not from the protocol's `Network`: that tells of all that a page sends and receives, with what is in it."""


class ChromiumPage:
    """One page in one browser. Implements `ports.browser.OpenPage`."""

    def __init__(
        self,
        chromium: Chromium,
        guard: Guard,
        order: PageOrder,
        *,
        guarded: bool,
        memory_bytes: int,
        disk_bytes: int,
        kbps: int,
        codecs: tuple[str, ...],
    ) -> None:
        self.chromium = chromium
        self._order = order
        self._guarded = guarded
        self._memory_bytes = memory_bytes
        self._disk_bytes = disk_bytes
        self._kbps = kbps
        self._codecs = codecs
        self._gateway = Gateway(guard, self._on_refused)
        self._events: asyncio.Queue[PageEvent] = asyncio.Queue(_EVENTS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._page = self._page_target = self._recorder = ""
        self._loader = ""
        self._refused: set[str] = set()
        self._home = asyncio.Event()
        self._went = False
        "Whether the browser has said how it went to the page."
        self._is_connected = False
        "Whether the socket of this document was told of."
        self._is_over = False

    @property
    def _devtools(self) -> Any:
        return self.chromium.devtools

    async def open(self) -> None:
        """Start, capture, and go to the page."""
        port = await self._gateway.open()
        title = f"tapedeck-{secrets.token_hex(12)}"
        flags = (
            f"--auto-select-tab-capture-source-by-title={title}",
            f"--proxy-server=http://127.0.0.1:{port}",
            "--proxy-bypass-list=<-loopback>",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--allow-loopback-in-peer-connection",
            "--disable-blink-features=WebTransport",
            "--enable-features=NetworkServiceInProcess2",
            "--disable-features=AudioServiceOutOfProcess,"
            "WebRtcHideLocalIpsWithMdns,Translate,MediaRouter,OptimizationHints,"
            "SpareRendererForSitePerProcess,WebUIOmniboxPopup,WebUIOmniboxAimPopup,AimEnabled,"
            "AutofillServerCommunication,InterestFeedContentSuggestions,CertificateTransparencyComponentUpdater,"
            "NetworkTimeServiceQuerying",
        )
        await self.chromium.start(self._on_event, flags)
        try:
            await self._open_tabs(title)
            await self._capture()
            self._spawn(self._watch_limits(), "limits")
            self._spawn(self._navigate(), "navigate")
        except BrowserGoneError as exc:
            raise UnavailableError(f"{self.chromium.complaint()}") from exc
        except (ProtocolError, TimeoutError) as exc:
            raise UnavailableError(f"The browser could not be made ready: {str(exc) or 'it took too long'}") from exc
        self._spawn(self._watch_end(), "browser")

    async def next_event(self) -> PageEvent:
        """As `OpenPage`."""
        return await self._events.get()

    async def look(self) -> PageLook | None:
        """As `OpenPage`."""
        try:
            answer = await self._evaluate(self._page, _LOOK, _LOOK_S)
        except (ProtocolError, BrowserGoneError):
            return None
        if not isinstance(answer, list) or len(answer) != 2:
            return None
        trigger, ended = answer
        return PageLook(trigger if isinstance(trigger, bool) else None, ended is True)

    async def publish(self, exchange: Callable[[str], Awaitable[str]]) -> None:
        """As `OpenPage`."""
        try:
            codecs = json.dumps(self._codecs)
            call = f"deck.offer({codecs}, {self._kbps}, {self._order.fps})"
            answer = await exchange(await self._evaluate(self._recorder, call))
            await self._evaluate(self._recorder, f"deck.accept({json.dumps(answer)}, {self._kbps})")
        except (ProtocolError, BrowserGoneError) as exc:
            raise UnavailableError(f"The browser could not send the page: {exc}") from exc

    async def is_lost(self) -> bool:
        """As `OpenPage`."""
        try:
            return await self._evaluate(self._recorder, "deck.state()", _LOOK_S) in ("failed", "closed")
        except (ProtocolError, BrowserGoneError):
            return False

    async def ask(self, expression: str) -> Any:
        """The value of an expression in the page, for diagnosis and tests. ProtocolError, BrowserGoneError."""
        return await self._evaluate(self._page, expression)

    async def stats(self) -> dict[str, Any]:
        """What the browser says it sends of the picture: frames, fps, width, height, encoder, bytes, limited."""
        found: dict[str, Any] = await self._evaluate(self._recorder, "deck.stats()")
        return found

    async def windows(self) -> int:
        """How many pages are open, the recorder's own included."""
        targets = (await self._devtools.call("Target.getTargets"))["targetInfos"]
        return sum(one["type"] == "page" for one in targets)

    async def go(self, address: str) -> None:
        """Have the page go elsewhere, as its user might: for tests."""
        with contextlib.suppress(ProtocolError):
            await self._devtools.call("Page.navigate", self._page, answer_s=2.0, url=address)

    async def aclose(self) -> None:
        """As `OpenPage`."""
        await to_the_end(self._end())

    async def _end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.chromium.aclose()
        await self._gateway.aclose()

    # Beginning

    async def _open_tabs(self, title: str) -> None:
        call, order = self._devtools.call, self._order
        await call("Browser.setDownloadBehavior", behavior="deny")
        await call("Target.setDiscoverTargets", discover=True)
        self._page_target, self._page = await self._open_tab(*_SLIT)
        _, self._recorder = await self._open_tab(*_SLIT)
        await call("Runtime.enable", self._page)
        await call("Runtime.evaluate", self._page, expression=f"document.title = {json.dumps(title)}")
        size = {"width": order.width, "height": order.height, "deviceScaleFactor": 1, "mobile": False}
        await call("Emulation.setDeviceMetricsOverride", self._page, **size)
        await self._prepare(self._page)
        await call("Fetch.enable", self._recorder, patterns=[{"urlPattern": "*"}])
        await call("Page.enable", self._recorder)
        await call("Page.navigate", self._recorder, url=_HOME)
        async with asyncio.timeout(_CAPTURE_S):
            await self._home.wait()

    async def _open_tab(self, width: int, height: int) -> tuple[str, str]:
        """A tab in a window of its own, so that it is never in the background; its target and session."""
        made = await self._devtools.call(
            "Target.createTarget", url="about:blank", newWindow=True, width=width, height=height
        )
        attached = await self._devtools.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        return made["targetId"], attached["sessionId"]

    async def _prepare(self, session: str) -> None:
        """Whatever is loaded in a session has the recorder's script before any of its own, frames included."""
        call = self._devtools.call
        script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
        script = script.replace("GUARDED", "true" if self._guarded else "false")
        await call("Page.enable", session)
        if session == self._page:
            await call("Runtime.addBinding", session, name="tapedeckTell")
        await call("Page.addScriptToEvaluateOnNewDocument", session, source=script, runImmediately=True)
        await call("Target.setAutoAttach", session, autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    async def _capture(self) -> None:
        script = Path(__file__).with_name("recorder.js").read_text(encoding="utf-8")
        await self._evaluate(self._recorder, script.replace("const deck", "window.deck", 1))
        order = self._order
        await self._evaluate(self._recorder, f"deck.capture({order.width}, {order.height}, {order.fps})", _CAPTURE_S)

    async def _navigate(self) -> None:
        try:
            went = await self._devtools.call("Page.navigate", self._page, answer_s=_NAVIGATE_S, url=self._order.address)
        except ProtocolError:
            self._break("The page did not answer in time")
            return
        except BrowserGoneError:
            return  # told by who watches it
        self._went = True
        if error := went.get("errorText", ""):
            await self._look_at_answer(self._order.address, str(error))

    async def _evaluate(self, session: str, expression: str, answer_s: float = 20.0) -> Any:
        """The value of an expression, promises awaited. ProtocolError.

        In the recorder's own tab as if a person had asked for it, which capturing needs; the page gets no such gesture.
        """
        answer = await self._devtools.call(
            "Runtime.evaluate",
            session,
            answer_s=answer_s,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=session == self._recorder,
        )
        if (failed := answer.get("exceptionDetails")) is not None:
            text = str(failed.get("exception", {}).get("description") or failed.get("text", "")).splitlines()
            raise ProtocolError(text[0][:200] if text else "a script failed")
        return answer.get("result", {}).get("value")

    # What happens

    def _on_event(self, method: str, said: dict[str, Any], session: str) -> None:
        if method == "Runtime.bindingCalled":
            self._on_told(str(said.get("payload", "")))
        elif method == "Page.javascriptDialogOpening":
            self._tell("Page.handleJavaScriptDialog", session, accept=said.get("type") == "beforeunload")
        elif method == "Page.frameNavigated" and session == self._page:
            self._on_document(said.get("frame", {}))
        elif method == "Fetch.requestPaused" and session == self._recorder:
            self._serve(said)
        elif method == "Page.loadEventFired" and session == self._recorder:
            self._home.set()
        elif method == "Target.attachedToTarget":
            self._spawn(self._adopt(said), "frame")
        elif method == "Target.targetCreated":
            info = said.get("targetInfo", {})
            if info.get("type") == "page" and info.get("openerId"):
                self._tell("Target.closeTarget", targetId=info["targetId"])
        elif method in ("Inspector.targetCrashed", "Target.targetCrashed"):
            if session == self._page or said.get("targetId") == self._page_target:
                self._break("The page crashed")
        elif method == "Target.targetDestroyed" and said.get("targetId") == self._page_target:
            self._put(PageEvent(PageFact.ENDED))

    def _on_told(self, payload: str) -> None:
        try:
            told = json.loads(payload)
            fact = PageFact(told["event"])
            text = str(told.get("text", ""))[:_TEXT_LIMIT]
        except (ValueError, KeyError, TypeError, RecursionError):
            return  # the page may call it with anything
        if fact in (PageFact.CONNECTED, PageFact.SAID, PageFact.ENDED):
            self._put(PageEvent(fact, text))

    def _on_document(self, frame: dict[str, Any]) -> None:
        if frame.get("parentId") or (not self._loader and frame.get("url") == "about:blank"):
            return
        unreachable, error = frame.get("unreachableUrl"), ""
        if unreachable:
            error = "it could not be loaded" if self._went else ""  # of the first `_navigate` is told why
        elif self._loader and self._loader != frame.get("loaderId"):
            self._put(PageEvent(PageFact.NAVIGATED))
        self._loader = str(frame.get("loaderId", ""))
        self._spawn(self._look_at_answer(str(unreachable or frame.get("url")), error), "answer")

    async def _look_at_answer(self, address: str, error: str = "") -> None:
        """A document that is an error is none to record: by what its server answered, else by the browser's `error`."""
        status: Any = None
        with contextlib.suppress(ProtocolError, BrowserGoneError):
            status = await self._evaluate(self._page, _STATUS, _LOOK_S)
        if isinstance(status, int) and status >= 400:
            error = f"its server answered {status}"
        if error:
            self._break(self._why(urlsplit(address).hostname or "", error))

    def _why(self, host: str, error: str) -> str:
        if host in self._refused:
            return "The page is at a private address, and this server is not allowed to open it"
        if error == "net::ERR_ABORTED":
            error = "its server sent no page, but a download or nothing"
        if error.startswith("net::ERR_"):
            error = error[9:].replace("_", " ").lower()
        return f"The page could not be opened: {error}"

    def _on_refused(self, host: str) -> None:
        self._refused.add(host)

    def _serve(self, said: dict[str, Any]) -> None:
        """The recorder's document, and nothing else, to the recorder's tab."""
        url = said.get("request", {}).get("url")
        body = "<!doctype html><meta charset=utf-8><title>Recorder</title>" if url == _HOME else ""
        self._tell(
            "Fetch.fulfillRequest",
            self._recorder,
            requestId=said["requestId"],
            responseCode=200 if body else 404,
            responseHeaders=[{"name": "content-type", "value": "text/html"}],
            body=base64.b64encode(body.encode()).decode(),
        )

    async def _adopt(self, said: dict[str, Any]) -> None:
        """A frame in a process of its own, or a worker of the page: it waits until it is prepared."""
        session, kind = said["sessionId"], said.get("targetInfo", {}).get("type")
        if session in (self._page, self._recorder) or not said.get("waitingForDebugger"):
            return
        with contextlib.suppress(ProtocolError, BrowserGoneError):
            try:
                if kind == "iframe":
                    await self._prepare(session)
            finally:
                await self._devtools.call("Runtime.runIfWaitingForDebugger", session)

    async def _watch_end(self) -> None:
        await self._devtools.gone.wait()
        self._break(self.chromium.complaint())

    async def _watch_limits(self) -> None:
        for turn in count():
            await asyncio.sleep(_LIMITS_EVERY_S)
            if await asyncio.to_thread(self.chromium.takes_more_than, self._memory_bytes):
                self._break(f"The page took more than the {self._memory_bytes >> 20} MiB of memory that it may take")
                return
            if turn % _DISK_EVERY == 0 and await asyncio.to_thread(self.chromium.disk_bytes) > self._disk_bytes:
                self._break(f"The page stored more than the {self._disk_bytes >> 20} MiB that it may store")
                return

    def _break(self, reason: str) -> None:
        self._put(PageEvent(PageFact.BROKEN, reason))

    def _put(self, event: PageEvent) -> None:
        """The news of a page that says more than anybody can hear is dropped, but not that it is over.

        Nothing comes after that, so nothing pushes it out; and that a document has a socket is told once.
        """
        if self._is_over or (event.fact is PageFact.CONNECTED and self._is_connected):
            return
        self._is_over = event.fact in (PageFact.BROKEN, PageFact.ENDED)
        if event.fact in (PageFact.CONNECTED, PageFact.NAVIGATED):
            self._is_connected = event.fact is PageFact.CONNECTED
        if self._events.full():
            if event.fact is PageFact.SAID:
                return
            self._events.get_nowait()
        self._events.put_nowait(event)

    def _tell(self, method: str, session: str = "", **parameters: Any) -> None:
        async def tell() -> None:
            with contextlib.suppress(ProtocolError, BrowserGoneError):
                await self._devtools.call(method, session, **parameters)

        self._spawn(tell(), method)

    def _spawn(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
