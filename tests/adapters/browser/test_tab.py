"""A real Chromium shows pages that behave, and pages that do not; nothing of it is left afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.pace import eventually
from tests.pages.site import open_site

from tapedeck.adapters.browser.browsers import Chromiums
from tapedeck.adapters.browser.tab import ChromiumPage
from tapedeck.adapters.egress import Guard
from tapedeck.core.page import PageEvent, PageFact, PageLook
from tapedeck.ports.browser import PageOrder
from tapedeck.sources.synthetic import CAST

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ADA = CAST[0]
LIMIT_S = 60


@asynccontextmanager
async def opened(address: str, width: int = 320, height: int = 180, **options: Any) -> AsyncIterator[ChromiumPage]:
    """A page, which leaves nothing behind."""
    browsers = Chromiums(**{"sandbox": False, "allow_private": True, **options})
    page = await browsers.open(PageOrder(address, width, height, 30))
    pids = page.chromium.processes()
    assert len(pids) > 3
    try:
        yield page
    finally:
        await page.aclose()
        assert not page.chromium.processes()
        for pid in pids:
            assert not is_alive(pid), f"process {pid} is left"
        assert not page.chromium.profile.exists()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has asked how it ended does not (proc(5), stat: field 3)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def next_of(page: ChromiumPage, *facts: PageFact) -> PageEvent:
    async with asyncio.timeout(LIMIT_S):
        while (event := await page.next_event()).fact not in facts:
            pass
    return event


async def title(page: ChromiumPage, wanted: str) -> str:
    """The title of the page, once it begins with something."""
    found = ""

    async def holds() -> bool:
        nonlocal found
        found = str(await page.ask("document.title"))
        return found.startswith(wanted)

    await eventually(holds, LIMIT_S)
    return found


async def test_a_page_follows_the_contract_and_is_looked_at() -> None:
    async with open_site() as site, opened(site.show(ADA)) as page:
        assert (await next_of(page, PageFact.CONNECTED)).text == ""
        assert (await next_of(page, PageFact.SAID)).text == '{"type":"StartRecording"}'
        assert await page.look() == PageLook(trigger=True)
        await page.ask("show.end()")
        assert await page.look() == PageLook(trigger=True, is_ended=True)
        await page.ask("show.stop()")
        assert (await page.look()) == PageLook(trigger=False, is_ended=True)
        assert await page.ask("[navigator.webdriver, innerWidth, innerHeight, devicePixelRatio, document.hidden]") == [
            True,  # the recording SDK asks: without it, it only plays at recording
            320,
            180,
            1,
            False,
        ]


async def test_dialogs_are_dismissed_windows_closed_and_nothing_is_too_much() -> None:
    async with open_site() as site:
        async with opened(site.show(ADA, acts={"alert": 0.1})) as page:
            await title(page, "went on")
            # As if somebody had pressed a button: the browser itself lets no other window open.
            popup = "window.open('/popup') !== null"
            found = await page.chromium.devtools.call(
                "Runtime.evaluate", page._page, expression=popup, userGesture=True, returnByValue=True
            )
            assert found["result"]["value"]
            screen = "navigator.mediaDevices.getDisplayMedia({video: true}).catch((error) => error.name)"
            assert await page.ask(screen) == "NotAllowedError"
            await page.ask("console.log('x'.repeat(10 << 20))")
            await page.ask("fetch('/taken', {method: 'POST', body: 'x'.repeat(10 << 20)}).then(() => 0)")
            assert await page.look() == PageLook(trigger=True), "what it writes and sends is much, and its own"

            async def alone() -> bool:
                return await page.windows() == 2

            await eventually(alone, LIMIT_S)


async def test_a_page_that_crashes_is_told_of() -> None:
    async with open_site() as site, opened(site.show(ADA)) as page:
        await next_of(page, PageFact.SAID)
        await page.go("chrome://crash")
        assert (await next_of(page, PageFact.BROKEN)).text == "The page crashed"


async def test_a_page_that_hoards_memory_is_told_of() -> None:
    async with open_site() as site:
        async with opened(site.show(ADA, acts={"leak": 0.5}), memory_bytes=900 << 20) as page:
            event = await next_of(page, PageFact.BROKEN)
            assert "900 MiB" in event.text


async def test_a_page_that_fills_the_disk_is_told_of() -> None:
    fill = "caches.open('x').then((all) => all.put('/x', new Response(new Uint8Array(80 << 20)))); 1"
    async with open_site() as site, opened(site.show(ADA), disk_bytes=50 << 20) as page:
        await next_of(page, PageFact.SAID)
        await page.ask(fill)
        assert "50 MiB" in (await next_of(page, PageFact.BROKEN)).text


async def test_a_browser_that_is_killed_is_told_of() -> None:
    async with open_site() as site, opened(site.show(ADA)) as page:
        await next_of(page, PageFact.SAID)
        os.kill(page.chromium.pid, signal.SIGKILL)
        assert (await next_of(page, PageFact.BROKEN)).text == "Chromium ended unexpectedly"
        assert await page.look() is None


async def test_a_page_that_opens_sockets_for_ever_hides_no_end_and_is_told_of_once() -> None:
    many = "Promise.all(Array.from({length: 1200}, () => { new WebSocket('ws://localhost:8080/ws'); })).then(() => 0)"
    async with open_site() as site, opened(site.show(ADA)) as page:
        await next_of(page, PageFact.SAID)
        for _ in range(2):
            await page.ask(many)
        os.kill(page.chromium.pid, signal.SIGKILL)
        facts: list[PageFact] = []
        async with asyncio.timeout(LIMIT_S):
            while PageFact.BROKEN not in facts:
                facts.append((await page.next_event()).fact)
        assert facts == [PageFact.BROKEN]


async def test_redirects_are_followed_and_another_document_and_the_end_are_told_of() -> None:
    async with open_site() as site:
        to = site.show(ADA, never=True, acts={"go": 1}, to=f"{site.root}/second")
        async with opened(f"{site.root}/redirect?to={to.replace('&', '%26').replace('%', '%25')}") as page:
            await next_of(page, PageFact.NAVIGATED)
            assert [request.path for request in site.asked if "icon" not in request.path] == [
                "/redirect",
                "/show",
                "/second",
            ]
            await page.ask("location.href = 'about:blank'; 1")
            await next_of(page, PageFact.NAVIGATED)
            await page.ask("window.close(); 1")
            await next_of(page, PageFact.ENDED)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/x?status=503", "its server answered 503"),
        ("/x?status=404&text=", "its server answered 404"),
    ],
)
async def test_a_page_that_is_an_error_is_none(path: str, reason: str) -> None:
    async with open_site() as site, opened(site.root + path) as page:
        assert reason in (await next_of(page, PageFact.BROKEN)).text


async def test_a_name_that_nobody_knows_cannot_be_opened() -> None:
    async with opened("https://nowhere.invalid/") as page:
        assert "could not be opened" in (await next_of(page, PageFact.BROKEN)).text


async def test_a_page_at_a_private_address_is_refused() -> None:
    async with open_site() as site, opened(site.show(ADA), allow_private=False) as page:
        assert "private address" in (await next_of(page, PageFact.BROKEN)).text
        assert not site.asked


class OnePlace(Guard):
    """Takes one port of loopback for a place of the public internet."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._place = port
        self.hosts: set[str] = set()

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        self.hosts.add(host)
        guard = Guard(allow_private=True) if port == self._place else Guard()
        return await guard.dial(host, port, timeout_s)


async def test_what_a_page_asks_for_is_held_to_the_same_rule() -> None:
    """The page is let in; what it asks for is not: fetches, sockets, frames, redirects, connections of WebRTC."""
    async with open_site() as site, open_site() as private:
        asks = [f"{private.root}/a", f"http://localhost:{private.port}/b", f"{site.root}/redirect?to={private.root}/c"]
        address = site.show(ADA, acts={"fetch": 0.2}, urls=asks)
        guard = OnePlace(site.port)
        async with opened(address, allow_private=False, guard=guard) as page:
            await title(page, "[[")
            await page.ask(_SOCKET % private.port)
            for where in ("window", "document.body.appendChild(document.createElement('iframe')).contentWindow"):
                assert await page.ask(_RTC % where) == ["8.8.8.8"]
            await page.ask(f"location.href = {private.root + '/d'!r}; 1")
            assert "private address" in (await next_of(page, PageFact.BROKEN)).text
        assert [request.path for request in private.asked] == []
        assert "/redirect" in [request.path for request in site.asked]
        assert guard.hosts == {"127.0.0.1", "localhost"}, "the browser asks nobody of its own accord"


async def test_a_page_cannot_talk_the_guard_of_webrtc_round() -> None:
    """It owns the prototypes of its own document, and what it hands over may change from one reading to the next."""
    async with open_site() as site:
        async with opened(site.show(ADA), allow_private=False, guard=OnePlace(site.port)) as page:
            await next_of(page, PageFact.SAID)
            assert await page.ask(_TRICKS) == {"hosts": ["8.8.8.8"], "servers": ["stun:8.8.8.8:3478"], "native": 0}


async def test_looking_at_a_page_is_no_gesture_of_its_user() -> None:
    async with open_site() as site, opened(site.show(ADA)) as page:
        await next_of(page, PageFact.SAID)
        await page.ask(
            "window.realtimeKitRecording = {isMeetingEnded: () => navigator.userActivation.hasBeenActive}; 1"
        )
        for _ in range(2):
            look = await page.look()
            assert look is not None and not look.is_ended


_SOCKET = """new Promise((done, failed) => {
  const socket = new WebSocket("ws://127.0.0.1:%d/ws");
  socket.onerror = () => done(1);
  socket.onopen = () => failed(new Error("it is open"));
})"""


_RTC = """(async () => {
  const {RTCPeerConnection} = %s;
  const far = new RTCPeerConnection(), near = new RTCPeerConnection();
  far.createDataChannel("x");
  await far.setLocalDescription();
  const line = (host) => `candidate:1 1 udp 2122260223 ${host} 9999 typ host`;
  const hosts = ["10.0.0.1", "127.0.0.1", "192.168.1.1", "169.254.169.254", "fd00::1", "::1", "metadata.internal"];
  const sdp = far.localDescription.sdp.split("\\r\\n").filter((one) => !one.startsWith("a=candidate:"));
  sdp.splice(sdp.length - 1, 0, ...hosts.map((host) => `a=${line(host)}`));
  await near.setRemoteDescription({type: "offer", sdp: sdp.join("\\r\\n")});
  await near.setLocalDescription();
  for (const host of [...hosts, "8.8.8.8"])
    await near.addIceCandidate({candidate: line(host), sdpMid: "0", sdpMLineIndex: 0});
  const config = new RTCPeerConnection({iceServers: [{urls: ["stun:10.0.0.1", "stun:[::1]:3478"]}]}).getConfiguration();
  if (config.iceServers.length) throw new Error(JSON.stringify(config));
  const found = near.remoteDescription.sdp.split("\\r\\n").filter((one) => one.startsWith("a=candidate:"));
  return [...new Set(found.map((one) => one.split(" ")[4]))];
})()"""


_TRICKS = """(async () => {
  const frame = document.body.appendChild(document.createElement("iframe")).contentWindow;
  const {RTCPeerConnection} = frame, natives = new Set();
  const far = new RTCPeerConnection(), near = new RTCPeerConnection();
  far.createDataChannel("x");
  await far.setLocalDescription();
  const line = (host) => `candidate:1 1 udp 2122260223 ${host} 9999 typ host`;
  const sdp = far.localDescription.sdp.split("\\r\\n").filter((one) => !one.startsWith("a=candidate:"));
  sdp.splice(sdp.length - 1, 0, `a=${line("10.0.0.1")}`, `a=${line("8.8.8.8").replace(" udp", "  udp 8.8.8.8")}`);

  const {call, apply} = frame.Function.prototype;
  const note = (found) => { if (/native code/.test(`${found}`)) natives.add(found); };
  frame.Function.prototype.call = function (...all) { note(this); return Reflect.apply(this, all[0], all.slice(1)); };
  frame.Function.prototype.apply = function (...all) { note(this); return Reflect.apply(this, all[0], all[1]); };
  frame.Reflect.apply = (method, self, all) => { note(method); return Reflect.apply(method, self, all); };
  frame.Reflect.construct = (target, all, self) => { note(target); return Reflect.construct(target, all, self); };
  frame.Object.prototype.get = function (target, name) { if (typeof target === "function") note(target);
    return Reflect.get(target, name); };
  const found = (text) => Object.assign([text, "8", "8", "8", "8"], {index: 0, input: text});
  frame.RegExp.prototype.exec = found;
  frame.RegExp.prototype.test = () => true;
  frame.RegExp.prototype[Symbol.split] = () => ["", "", "", "", "8.8.8.8"];
  frame.String.prototype.startsWith = () => false;
  frame.String.prototype.trim = frame.String.prototype.replace = function () { return String(this); };
  frame.String.prototype.split = () => ["", "", "", "", "8.8.8.8"];
  frame.Array.prototype.filter = frame.Array.prototype.map = function () { return this; };
  frame.Array.prototype[Symbol.iterator] = function* () {
    for (let i = 0; i < this.length; i++) yield this[i]?.urls ? {urls: "stun:10.0.0.2"} : this[i];
  };
  frame.Number = () => 8;

  await near.setRemoteDescription({type: "offer", sdp: sdp.join("\\r\\n")});
  await near.setLocalDescription();
  const turning = (...texts) => ({toString: () => texts.length > 1 ? texts.shift() : texts[0]});
  const add = (candidate) => near.addIceCandidate({candidate, sdpMid: "0", sdpMLineIndex: 0}).catch(() => {});
  await add(line("10.0.0.3"));
  await add(turning(line("8.8.8.8"), line("10.0.0.4")));
  await add(turning(line("8.8.8.8"), line("8.8.8.8"), line("10.0.0.5")));
  await add("candidate:1 1 udp  8.8.8.8 10.0.0.6 9999 typ host");
  await add("candidate:1 1\\tudp 1 8.8.8.8 10.0.0.7 9999 typ host");
  await add("candidate:1 1 udp 1 010.0.0.8 9999 typ host");
  const hosts = near.remoteDescription.sdp.match(/^a=candidate:.*$/gm).map((one) => one.split(" ")[4]);

  let asked = 0;
  const config = {get iceServers() { return asked++ ? [{urls: "stun:10.0.0.9"}] : undefined; }};
  const urls = ["stun:10.0.0.1", "stun:[fe80::1%25wlan0]", "turn:8.8.8.8@10.0.0.1", "stun:8.8.8.8:3478"];
  const told = [config, {iceServers: [{urls}]}, {iceServers: [{urls: turning("stun:10.0.0.1")}]}].flatMap((one) => {
    try { return new RTCPeerConnection(one).getConfiguration().iceServers.flatMap((one) => one.urls); }
    catch { return []; }
  });
  const setters = ["setRemoteDescription", "addIceCandidate", "setConfiguration"];
  const stolen = [...natives].filter((one) => setters.includes(one.name) || one.name === "RTCPeerConnection");
  return {hosts: [...new Set(hosts)], servers: [...new Set(told)], native: stolen.length};
})()"""
