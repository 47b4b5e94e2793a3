"""A RealtimeKit app as the recorder of a tenant's rooms, through the official SDK; another Tapedeck is one too.

Owns every call there and what its answers mean. Refuses addresses that this server may not dial, redirects with the
token, and to repeat what is not safe to repeat. The SDK is loaded on first use: few servers need it.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import httpx

from tapedeck.adapters.fetcher import next_address
from tapedeck.adapters.outbound import Outbound, mapped
from tapedeck.adapters.provider.parse import read_page, read_recording
from tapedeck.adapters.provider.transport import ANSWER_S, GuardedTransport
from tapedeck.core.egress import RefusedTargetError, UnreachableError, url_problem
from tapedeck.core.errors import ConflictError, DestinationError, InvalidError, NotFoundError, UnavailableError
from tapedeck.core.remote import RemoteAccount, RemoteRecording
from tapedeck.ports.provider import RemoteBytes

if TYPE_CHECKING:
    from cloudflare import AsyncCloudflare

__all__ = ["CloudflareProvider", "CloudflareProviders"]

_log = logging.getLogger(__name__)

_OFFICIAL = "api.cloudflare.com"
_OFFICIAL_KEY = "https://api.realtime.cloudflare.com/.well-known/webhooks.json"
_PER_PAGE = 100
_MOST_PAGES = 1000
_PASSES = 5
_REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_SILENCE_S = 30.0
_EVENT: Final = "recording.statusUpdate"
_NAME = "Tapedeck"
_KEPT = 64


class CloudflareProviders:
    """`ports.provider.Providers`. `allow_private`: private and loopback addresses too."""

    def __init__(self, allow_private: bool = False, answer_s: float = ANSWER_S) -> None:
        """`answer_s`: how long one answer may take."""
        self._outbound = Outbound(allow_private, answer_s)
        self._answer_s = answer_s
        self._known: dict[RemoteAccount, CloudflareProvider] = {}

    def connect(self, account: RemoteAccount) -> CloudflareProvider:
        found = self._known.get(account)
        if found is None:
            if problem := url_problem(account.base_url):
                raise InvalidError(f"The base URL of the recorder {problem}")
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            found = self._known[account] = CloudflareProvider(account, self._outbound, self._answer_s)
        return found

    async def aclose(self) -> None:
        await self._outbound.aclose()


class CloudflareProvider:
    """`ports.provider.RecordingProvider`."""

    def __init__(self, account: RemoteAccount, outbound: Outbound, answer_s: float = ANSWER_S) -> None:
        self._account = account
        self._outbound = outbound
        self._answer_s = answer_s
        self._client: AsyncCloudflare | None = None
        self._ids: dict[str, Any] = {"account_id": account.account_id}

    def __repr__(self) -> str:
        return f"CloudflareProvider({self._account!r})"

    async def make_room(self, title: str | None) -> str:
        with _told("make the room"):
            raw = await self._sdk().realtime_kit.meetings.with_raw_response.create(
                self._account.app_id, title=title or _NAME, **self._ids
            )
            return str(_data(await raw.read())["id"])

    async def start(self, meeting_id: str, config: Mapping[str, Any], allow_multiple: bool) -> RemoteRecording:
        more: dict[str, Any] = {"allow_multiple_recordings": True} if allow_multiple else {}
        with _told("start a recording"):
            raw = await self._sdk().realtime_kit.recordings.with_raw_response.start_recordings(
                self._account.app_id, meeting_id=meeting_id, extra_body=dict(config) | more, **self._ids
            )
            return read_recording(_data(await raw.read()))

    async def stop(self, recording_id: str) -> RemoteRecording:
        with _told("stop a recording"):
            raw = await self._sdk().realtime_kit.recordings.with_raw_response.pause_resume_stop_recording(
                recording_id, app_id=self._account.app_id, action="stop", **self._ids
            )
            return read_recording(_data(await raw.read()))

    async def status(self, recording_id: str) -> RemoteRecording:
        with _told("show a recording"):
            raw = await self._sdk().realtime_kit.recordings.with_raw_response.get_one_recording(
                recording_id, app_id=self._account.app_id, **self._ids
            )
            return read_recording(_data(await raw.read()))

    async def recordings(self, meeting_id: str) -> Sequence[RemoteRecording]:
        """Pages can shift under whoever reads them: read again until the count stays the same from first to last."""
        found: dict[str, RemoteRecording] = {}
        for _ in range(_PASSES):
            found, steady = await self._pass(meeting_id)
            if steady:
                break
        return sorted(found.values(), key=lambda remote: (remote.invoked_at, remote.id))

    async def _pass(self, meeting_id: str) -> tuple[dict[str, RemoteRecording], bool]:
        """All pages once, and whether nothing came or went meanwhile."""
        found: dict[str, RemoteRecording] = {}
        seen, totals = 0, set[int | None]()
        for number in range(1, _MOST_PAGES + 1):
            with _told("list recordings"):
                raw = await self._sdk().realtime_kit.recordings.with_raw_response.get_recordings(
                    self._account.app_id,
                    meeting_id=meeting_id,
                    page_no=number,
                    per_page=_PER_PAGE,
                    sort_by="invokedTime",
                    sort_order="ASC",
                    **self._ids,
                )
                page, total = read_page(json.loads(await raw.read()))
            seen += len(page)
            totals.add(total)
            # The filter is asked for, but who hears of a stranger's recording must not take it for one of the room.
            found |= {remote.id: remote for remote in page if remote.meeting_id in (None, meeting_id)}
            if not page or (total is not None and seen >= total) or (total is None and len(page) < _PER_PAGE):
                break
        return found, len(totals) == 1 and (None in totals or seen in totals)

    async def fetch(self, url: str, start: int = 0, tag: str | None = None) -> RemoteBytes:
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={start}-"} if start else {})
        headers |= {"if-range": tag} if start and tag is not None else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._answer_s, sock_read=_SILENCE_S)
        for _ in range(_REDIRECTS + 1):
            if problem := url_problem(url):
                raise RefusedTargetError(f"The link to a file {problem}")
            with mapped(self._answer_s):
                answer = await self._outbound.open().get(url, headers=headers, allow_redirects=False, timeout=timeout)
            if answer.status in _MOVED and "location" in answer.headers:
                answer.close()
                url = next_address(url, answer.headers["location"])
                continue
            found = _checked(answer, start)
            if found.start and None not in (tag, found.tag) and found.tag != tag:  # who knows no If-Range
                await found.aclose()
                return await self.fetch(url)
            return found
        raise DestinationError(f"The link to a file redirects more than {_REDIRECTS} times")

    async def watch(self, url: str, known: str | None) -> str:
        hooks = self._sdk().realtime_kit.webhooks.with_raw_response
        with _told("tell what happens"):
            try:
                raw = await hooks.get_webhooks(self._account.app_id, **self._ids)
                there = _list(await raw.read())
            except _NothingThere:
                there = []
            ours = [hook for hook in there if hook.get("url") == url]
            ours.sort(key=lambda hook: hook.get("id") != known)
            for hook in ours:
                if _EVENT in hook.get("events", ()) and hook.get("enabled", True):
                    return str(hook["id"])
            made = await hooks.create_webhook(
                self._account.app_id, name=_NAME, url=url, events=[_EVENT], enabled=True, **self._ids
            )
            return str(_data(await made.read())["id"])

    async def public_key(self) -> str:
        parts = urlsplit(self._account.base_url)
        own = f"{parts.scheme}://{parts.netloc}/.well-known/webhooks.json"
        url = _OFFICIAL_KEY if parts.hostname == _OFFICIAL else own
        async with httpx.AsyncClient(transport=GuardedTransport(self._outbound, self._answer_s)) as http:
            with _told("show its public key"):
                answer = await http.get(url)
                answer.raise_for_status()
                return str(_data(answer.content)["publicKey"])

    def _sdk(self) -> AsyncCloudflare:
        if self._client is None:
            from cloudflare import AsyncCloudflare

            http = httpx.AsyncClient(
                transport=GuardedTransport(self._outbound, self._answer_s), follow_redirects=False, trust_env=False
            )
            sdk = AsyncCloudflare(
                base_url=self._account.base_url, api_token=self._account.token, http_client=http, max_retries=0
            )
            sdk.api_email = sdk.api_key = sdk.user_service_key = None  # those of the environment are not the tenant's
            self._client = sdk
        return self._client


class _NothingThere(NotFoundError):
    """404 of the recorder."""


class _Answer:
    """`ports.provider.RemoteBytes` of an answer that has begun."""

    def __init__(self, answer: aiohttp.ClientResponse, total: int, start: int) -> None:
        self._answer = answer
        self.total = total
        self.start = start
        said = answer.headers.get("etag")
        self.tag = said if said is not None and said.startswith('"') else None

    async def chunks(self) -> AsyncIterator[bytes]:
        with mapped(_SILENCE_S):
            async for chunk in self._answer.content.iter_chunked(1 << 18):
                yield chunk

    async def aclose(self) -> None:
        self._answer.close()


def _checked(answer: aiohttp.ClientResponse, start: int) -> _Answer:
    """The rest of a file. DestinationError unless the answer is one, and says how large the file is."""
    try:
        if answer.status == 206 and start:
            unit, _, rest = answer.headers.get("content-range", "").partition(" ")
            span, _, total = rest.partition("/")
            if unit == "bytes" and span.split("-")[0] == str(start) and total.isdecimal():
                return _Answer(answer, int(total), start)
        if answer.status == 200 and answer.content_length is not None:
            return _Answer(answer, answer.content_length, 0)
        if answer.status == 416 and start:
            total = answer.headers.get("content-range", "").rpartition("/")[2]
            if total.isdecimal() and int(total) == start:  # we have it all
                return _Answer(answer, start, start)
    except BaseException:
        answer.close()
        raise
    answer.close()
    raise DestinationError(f"The link to a file answers with status {answer.status}")


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What the SDK raises in our words; neither address nor token is in them."""
    import cloudflare

    try:
        yield
    except (cloudflare.APIStatusError, httpx.HTTPStatusError) as exc:
        status, reason = exc.response.status_code, _reason(exc.response)
        _log.info("refused", extra={"action": "recorder_refused", "status": status, "reason": reason})
        raise _refusal(status, f"The recorder of the room does not {what}: status {status}", reason) from exc
    except RefusedTargetError as exc:
        raise DestinationError(f"The recorder of the room cannot be asked: {exc}") from exc
    except UnreachableError as exc:
        raise UnavailableError(f"The recorder of the room cannot be reached: {exc}", retry_after_s=30) from exc
    except cloudflare.APIConnectionError as exc:
        cause = exc.__cause__ or exc.__context__
        if isinstance(cause, RefusedTargetError):
            raise DestinationError(f"The recorder of the room cannot be asked: {cause}") from exc
        said = f": {cause}" if isinstance(cause, UnreachableError) else ""
        raise UnavailableError(f"The recorder of the room cannot be reached{said}", retry_after_s=30) from exc
    except (cloudflare.CloudflareError, httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
        text = f"The recorder of the room does not {what}: its answer makes no sense ({type(exc).__name__})"
        raise UnavailableError(text, retry_after_s=30) from exc


def _refusal(status: int, text: str, reason: str) -> Exception:
    """What is wrong with a request is told in the recorder's words, everything else in ours: they are another API's."""
    if status in (400, 422):
        return InvalidError(f"{text}{reason}")
    if status == 404:
        return _NothingThere(text)
    if status == 409:
        return ConflictError(text)
    if status in (408, 429) or status >= 500:
        return UnavailableError(text, retry_after_s=30)
    return DestinationError(text)


def _reason(response: httpx.Response) -> str:
    """The first message of an answer, if it has one, shortened."""
    try:
        body = json.loads(response.content)
        errors = body.get("errors") or [body.get("error")]
        text = str(errors[0]["message"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""
    return f" ({''.join(c for c in text if c.isprintable())[:200]})"


def _data(body: bytes) -> dict[str, Any]:
    data = json.loads(body)["data"]
    if not isinstance(data, dict):
        raise ValueError("no object")
    return data


def _list(body: bytes) -> list[dict[str, Any]]:
    data = json.loads(body)["data"]
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
