"""Films that are made again: what callers ask, what workers report. The recording and its own film stay as they are.

Owns which wishes can be granted (the log must still be there), how many may wait, and how long a film lives. Refuses to
make one (`workers/rerender.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from tapedeck.core.access import AppPrincipal, Principal
from tapedeck.core.errors import ConflictError, DeniedError, FieldProblem, InvalidError, LimitError, NotFoundError
from tapedeck.core.meeting import App
from tapedeck.core.recording import ACTIVE, FilmFile, Recording, RecordingKind, RecordingState
from tapedeck.core.rerender import Rerender, RerenderState, RerenderWish
from tapedeck.core.signing import expiry_seconds
from tapedeck.core.times import from_ms, whole_ms
from tapedeck.db import recordings
from tapedeck.db import renders as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore

__all__ = ["MOST_WAITING", "RecordingFiles", "RenderService", "RenderView"]

_log = logging.getLogger(__name__)

MOST_WAITING = 20
"""Films of one app that may wait to be made again."""
_RETRY_S = 60
_NO_FOCUS = ("auto", "grid")


@dataclass(frozen=True, slots=True)
class RenderView:
    """A film as a face shows it: how far it is made, and links made for this answer, in the order of its files."""

    render: Rerender
    made_ms: int | None
    links: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class RecordingFiles:
    """A recording with a link for each of its files (None: it lies nowhere), and whether its log is still here."""

    recording: Recording
    links: Sequence[str | None]
    has_log: bool


class RenderService:
    """Use cases of films that are made again, and of the files of a recording."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        store: ObjectStore,
        has_log: Callable[[str], bool],
        retention: timedelta = timedelta(days=7),
    ) -> None:
        """`has_log` says whether the log of a session is on this machine."""
        self._db = db
        self._clock = clock
        self._store = store
        self._has_log = has_log
        self._retention = retention
        self._made_ns: dict[str, int] = {}
        self.on_asked: Callable[[Rerender], None] = lambda _: None
        "Hears of each new one after its commit; returns at once."

    # Callers

    async def enter(self, principal: Principal, recording_id: str) -> App:
        """The app of a recording, for a backend that may see it.

        DeniedError: no backend. NotFoundError: no such recording, or one of somebody else, which is not told apart.
        """
        if not isinstance(principal, AppPrincipal):
            raise DeniedError("Forbidden: this route needs an API token")
        async with self._db.read() as session:
            app = await table.app_of_recording(session, recording_id)
        token = principal.token
        if app is None or app.account_id != token.account_id or token.app_id not in (None, app.id):
            raise NotFoundError(f"Recording not found: {recording_id}")
        return app

    async def files(self, app: App, recording_id: str) -> RecordingFiles:
        """A recording and its files. NotFoundError."""
        recording = await self._recording(app, recording_id)
        links = await self._links(recording.files, recording.expires_at)
        has_log = recording.session_id is not None and self._has_log(recording.session_id)
        return RecordingFiles(recording, links, has_log)

    async def storyboard(self, app: App, recording_id: str, render_id: str | None = None) -> str:
        """The storyboard of a recording's film, or of another film of it, with links to its sprite.

        NotFoundError when there is none (any more).
        """
        film: Recording | Rerender
        if render_id is None:
            film, what = await self._recording(app, recording_id), f"Recording {recording_id}"
        else:
            film, what = (await self.get(app, recording_id, render_id)).render, f"Render {render_id}"
        files = {file.kind: file for file in film.files if file.key is not None}
        board, sprite = files.get("storyboard"), files.get("sprite")
        if board is None or sprite is None or film.expires_at is None:
            raise NotFoundError(f"{what} has no storyboard")
        assert board.key is not None and sprite.key is not None
        text = b"".join([chunk async for chunk in self._store.read(board.key)]).decode()
        link = await self._store.presign(sprite.key, sprite.name, film.expires_at)
        return text.replace(f"{sprite.name}#", f"{link}#")

    async def ask(self, app: App, recording_id: str, wish: RerenderWish) -> RenderView:
        """Have another film made. `wish` names people by id or custom id.

        NotFoundError; ConflictError: the recording still runs, its log is gone, or it is one of tracks; InvalidError:
        nothing would be in it; LimitError: too many wait already.
        """
        recording = await self._recording(app, recording_id)
        if recording.kind is RecordingKind.TRACK:
            # Beside a composite one the log holds people whom nobody asked this recording to keep.
            raise ConflictError("This is a recording of tracks, of which no film is made: ask for one of a composite")
        if recording.state in ACTIVE or recording.state is RecordingState.CLOSING:
            raise ConflictError("The recording still runs: stop it before another film is made of it")
        if recording.session_id is None or not self._has_log(recording.session_id):
            raise ConflictError(
                "The media log of the recording is gone, and no other film can be made: "
                "set TAPEDECK_KEEP_LOGS to a number of days to keep logs after their films are delivered"
            )
        _check(wish, recording)
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            if await table.count_waiting(session, app.id) >= MOST_WAITING:
                raise LimitError(f"{MOST_WAITING} films wait to be made again: ask when some are done", _RETRY_S)
            wish = await _with_ids(session, wish, recording.session_id)
            render = Rerender(str(uuid4()), recording.id, app.id, now, wish)
            await table.add_render(session, render)
        self.on_asked(render)
        return await self._view(render)

    async def list(self, app: App, recording_id: str) -> Sequence[RenderView]:
        """The other films of a recording, newest first. NotFoundError."""
        await self._recording(app, recording_id)
        async with self._db.read() as session:
            found = await table.renders_of(session, recording_id)
        return [await self._view(render) for render in found]

    async def get(self, app: App, recording_id: str, render_id: str) -> RenderView:
        """One of them. NotFoundError."""
        await self._recording(app, recording_id)
        async with self._db.read() as session:
            render = await table.find_render(session, recording_id, render_id)
        if render is None:
            raise NotFoundError(f"Render not found: {render_id}")
        return await self._view(render)

    # Workers

    async def waiting(self) -> Sequence[Rerender]:
        """Those to be made, oldest first."""
        async with self._db.read() as session:
            return await table.waiting(session)

    async def recording_of(self, render: Rerender) -> Recording | None:
        """The recording that a film is made of."""
        async with self._db.read() as session:
            return await recordings.find_recording(session, render.recording_id)

    def on_progress(self, render_id: str, film_ns: int) -> None:
        """A film got further. Kept in memory only."""
        self._made_ns[render_id] = film_ns

    async def on_done(self, render: Rerender, files: Sequence[FilmFile]) -> None:
        """The bucket holds its files, each of which has its `key`."""
        now = self._clock.now()
        expires = from_ms(expiry_seconds(now + self._retention) * 1000)
        film_ms = next((file.duration_ms for file in files if file.kind == "video"), None)
        done = replace(render, state=RerenderState.DONE, files=tuple(files), film_ms=film_ms, expires_at=expires)
        await self._save(replace(done, finished_at=whole_ms(now)))

    async def on_failed(self, render: Rerender, reason: str) -> None:
        """It will not be made. `reason` is one sentence."""
        now = whole_ms(self._clock.now())
        await self._save(replace(render, state=RerenderState.FAILED, failure=reason, finished_at=now))

    async def delete_expired(self, now: datetime) -> int:
        """Delete the files of films that have expired; how many films that were. Their records stay. One that the
        store does not delete is tried again the next time, and holds up no other."""
        async with self._db.read() as session:
            gone = await table.expired(session, now)
        deleted = 0
        for render in gone:
            try:
                for file in render.files:
                    if file.key is not None:
                        await self._store.delete(file.key)
            except Exception:
                _log.exception("a film stays in its bucket", extra={"action": "delete_failed", "render_id": render.id})
                continue
            await self._save(replace(render, files=()))
            deleted += 1
        return deleted

    # Inside

    async def _save(self, render: Rerender) -> None:
        self._made_ns.pop(render.id, None)
        async with self._db.write() as session:
            await table.save_render(session, render)

    async def _recording(self, app: App, recording_id: str) -> Recording:
        found = recordings.find_with_meeting(self._db, app.id, recording_id)
        if found is None:
            raise NotFoundError(f"Recording not found: {recording_id}")
        return found[0]

    async def _view(self, render: Rerender) -> RenderView:
        made_ns = self._made_ns.get(render.id) if render.state is RerenderState.WAITING else None
        made_ms = render.film_ms if made_ns is None else made_ns // 1_000_000
        return RenderView(render, made_ms, await self._links(render.files, render.expires_at))

    async def _links(self, files: Sequence[FilmFile], expires_at: datetime | None) -> Sequence[str | None]:
        return [
            None
            if file.key is None or expires_at is None
            else await self._store.presign(file.key, file.name, expires_at)
            for file in files
        ]


def _check(wish: RerenderWish, recording: Recording) -> None:
    """InvalidError when it cannot be had of this recording."""
    problems: list[FieldProblem] = []
    if wish.focus is not None and wish.layout in _NO_FOCUS:
        problems.append(FieldProblem("/focus", '"focus" needs the layout speaker, sidebar or single'))
    if recording.film_ms is not None and wish.from_ns >= recording.film_ms * 1_000_000:
        length = f'"from" must be less than {recording.film_ms / 1000:g}, the length of the film in seconds'
        problems.append(FieldProblem("/from", length))
    if wish.to_ns is not None and wish.to_ns <= wish.from_ns:
        problems.append(FieldProblem("/to", '"to" must be greater than "from"'))
    if problems:
        raise InvalidError("; ".join(problem.message for problem in problems), tuple(problems))


async def _with_ids(session: DbSession, wish: RerenderWish, session_id: str) -> RerenderWish:
    """The wish with ids for custom ids. InvalidError names who was not in the session, or is not in the film."""
    if wish.only is None and wish.focus is None:
        return wish
    people = await table.people_of_session(session, session_id)
    known: dict[str, list[str]] = {}
    for participant_id, custom_id in people:
        known.setdefault(participant_id, []).append(participant_id)
        if custom_id is not None and custom_id != participant_id:
            known.setdefault(custom_id, []).append(participant_id)
    only = (
        None if wish.only is None else tuple(dict.fromkeys(i for word in wish.only for i in _ids(known, word, "only")))
    )
    focus = None
    if wish.focus is not None:
        meant = [one for one in _ids(known, wish.focus, "focus") if only is None or one in only]
        if not meant:
            problem = '"focus" names somebody who is not in the film: only those in "only" are'
            raise InvalidError(problem, (FieldProblem("/focus", problem),))
        focus = meant[0]
    return replace(wish, only=only, focus=focus)


def _ids(known: Mapping[str, Sequence[str]], word: str, field: str) -> Sequence[str]:
    if word not in known:
        problem = f'"{field}" names {word[:80]!r}, who was not in the session: give ids or custom ids of participants'
        raise InvalidError(problem, (FieldProblem(f"/{field}", problem),))
    return known[word]
