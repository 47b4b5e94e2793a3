"""Recordings of the RealtimeKit face: start, list, active, get, pause, resume, stop."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Entry, Gate
from tapedeck.api.chapters import BROWSER, RECORDINGS
from tapedeck.api.describe import ASCENDING, PAGE, SEARCH, SPAN, Param, Who, describe
from tapedeck.api.errors import FIELD_STATUS
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.ids import parse_uuid
from tapedeck.service.recordings import Action, RecordingFilter, RecordingService
from tapedeck.service.views import RecordingView
from tapedeck.shapes import answers, bodies, realtimekit, tracks

__all__ = ["add_browser_routes", "add_routes"]

_STATUSES = tuple(dict.fromkeys(realtimekit.STATUS.values()))
_START = {
    404: "There is no such meeting.",
    409: "The meeting is being recorded already, and `allow_multiple_recordings` is not set; or it is streamed already "
    "to where `rtmp_out_config` says.",
}
_START_TRACKS = {
    404: "There is no such meeting, or nobody is in it.",
    409: "Tracks of the meeting are being recorded already, and `allow_multiple_recordings` is not set.",
}
_ACT = {409: "A recording in this state cannot do that."}
_LIST = (
    *PAGE,
    SEARCH,
    *SPAN,
    ASCENDING,
    Param("sort_by", "Nothing else is possible.", {"type": "string", "enum": ["invokedTime"]}),
    Param("meeting_id", "Only those of this meeting.", {"type": "string"}),
    Param(
        "status",
        "Only those in one of these states; the parameter may be repeated, or be one text with commas.",
        {"type": "array", "items": {"type": "string", "enum": list(_STATUSES)}},
    ),
    Param(
        "expired",
        "`true`: only those whose links are dead; `false`: all others.",
        {"type": "string", "enum": ["true", "false"]},
    ),
)


def _fields_are_422(request: Request) -> None:
    """Wrong fields are 422 on recordings, 400 everywhere else."""
    setattr(request.state, FIELD_STATUS, 422)


def add_routes(
    routes: APIRouter, prefix: str, gate: Gate, recordings: RecordingService, *, track_video: bool = True
) -> None:
    """Routes below an app, for backends; participants may start, act and ask for the active one.

    `track_video`: recordings of tracks may have pictures.
    """

    @routes.post(f"{prefix}/recordings")
    @describe(
        RECORDINGS,
        "Start a recording",
        Who.ANYONE,
        data=answers.StartedRecording,
        body=bodies.StartBody,
        fields=422,
        fails=_START,
    )
    async def start(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter_any(request, account_id, app_id)
        return await _start(recordings, entry, request)

    @routes.post(f"{prefix}/recordings/track")
    @describe(
        RECORDINGS,
        "Start a recording of tracks",
        data=answers.StartedTracks,
        body=tracks.TrackBody,
        fields=422,
        fails=_START_TRACKS,
        about="A file per person, connection and kind of media, as it was sent. The meeting must have a live session.",
    )
    async def start_tracks(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        _fields_are_422(request)
        body = bodies.parse(tracks.TrackBody, await read_json(request))
        allow_multiple = body.allow_multiple_recordings is True
        options = body.options(video=track_video)
        view = await recordings.start_tracks(
            entry.app, entry.principal, body.meeting_id.lower(), options, body.storages(), allow_multiple
        )
        return Reply(realtimekit.single(realtimekit.started_tracks(view.recording)))

    @routes.get(f"{prefix}/recordings")
    @describe(RECORDINGS, "List recordings", items=answers.ListedRecording, query=_LIST, fields=422)
    async def list_recordings(account_id: str, app_id: str, request: Request) -> Response:
        _fields_are_422(request)
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params)
        statuses = query.choices("status", _STATUSES)
        query.choice("sort_by", ("invokedTime",))
        meeting_id = query.text("meeting_id")
        wanted = RecordingFilter(
            meeting_id=None if meeting_id is None else meeting_id.lower(),
            states=None if statuses is None else realtimekit.states_of(statuses),
            search=query.search(),
            start=query.time("start_time", round_up=True),
            end=query.time("end_time"),
            expired=query.flag("expired"),
            ascending=query.choice("sort_order", ("ASC", "DESC")) == "ASC",
        )
        page = query.page()
        query.done()
        found = await recordings.list(entry.app, wanted, page)
        items = [
            realtimekit.listed_recording(v.recording, v.meeting, _download(v), v.audio_url, v.places)
            for v in found.items
        ]
        return Reply(realtimekit.listing(items, found))

    @routes.get(f"{prefix}/recordings/active-recording/{{meeting_id}}")
    @describe(RECORDINGS, "Get the recording of a meeting that runs", Who.ANYONE, data=answers.ActiveRecording)
    async def active(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter_any(request, account_id, app_id)
        return await _active(recordings, entry, meeting_id)

    @routes.get(f"{prefix}/recordings/{{recording_id}}")
    @describe(RECORDINGS, "Get a recording", data=answers.Recording)
    async def get(account_id: str, app_id: str, recording_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return _whole(await recordings.get(entry.app, parse_uuid(recording_id, "recording_id")))

    @routes.put(f"{prefix}/recordings/{{recording_id}}")
    @describe(
        RECORDINGS,
        "Pause, resume or stop a recording",
        Who.ANYONE,
        data=answers.Recording,
        body=bodies.ActionBody,
        fields=422,
        fails=_ACT,
    )
    async def act(account_id: str, app_id: str, recording_id: str, request: Request) -> Response:
        entry = await gate.enter_any(request, account_id, app_id)
        return await _act(recordings, entry, recording_id, request)


def add_browser_routes(routes: APIRouter, prefix: str, gate: Gate, recordings: RecordingService) -> None:
    """The three routes that the browser client calls, with participant tokens."""

    @routes.post(f"{prefix}/recordings")
    @describe(
        BROWSER,
        "Start a recording",
        Who.PERSON,
        data=answers.StartedRecording,
        body=bodies.StartBody,
        fields=422,
        fails=_START,
    )
    async def start(request: Request) -> Response:
        return await _start(recordings, await gate.enter_browser(request), request)

    @routes.get(f"{prefix}/recordings/active-recording/{{meeting_id}}")
    @describe(BROWSER, "Get the recording of a meeting that runs", Who.PERSON, data=answers.ActiveRecording)
    async def active(meeting_id: str, request: Request) -> Response:
        return await _active(recordings, await gate.enter_browser(request), meeting_id)

    @routes.put(f"{prefix}/recordings/{{recording_id}}")
    @describe(
        BROWSER,
        "Pause, resume or stop a recording",
        Who.PERSON,
        data=answers.Recording,
        body=bodies.ActionBody,
        fields=422,
        fails=_ACT,
    )
    async def act(recording_id: str, request: Request) -> Response:
        return await _act(recordings, await gate.enter_browser(request), recording_id, request)


async def _start(recordings: RecordingService, entry: Entry, request: Request) -> Response:
    _fields_are_422(request)
    body = bodies.parse(bodies.StartBody, await read_json(request))
    allow_multiple = body.allow_multiple_recordings is True
    view = await recordings.start(entry.app, entry.principal, body.meeting_id.lower(), body.config(), allow_multiple)
    said = realtimekit.started_recording(view.recording, _download(view), view.audio_url, view.places)
    return Reply(realtimekit.single(said))


async def _active(recordings: RecordingService, entry: Entry, meeting_id: str) -> Response:
    view = await recordings.active(entry.app, entry.principal, parse_uuid(meeting_id, "meeting_id"))
    return Reply(realtimekit.single(realtimekit.active_recording(view.recording, _download(view), view.audio_url)))


async def _act(recordings: RecordingService, entry: Entry, recording_id: str, request: Request) -> Response:
    recording_id = parse_uuid(recording_id, "recording_id")
    _fields_are_422(request)
    body = bodies.parse(bodies.ActionBody, await read_json(request))
    return _whole(await recordings.control(entry.app, entry.principal, recording_id, Action(body.action)))


def _download(view: RecordingView) -> realtimekit.Download:
    return realtimekit.download_of(view.recording, view.video_url, view.track_urls)


def _whole(view: RecordingView) -> Response:
    body = realtimekit.full_recording(view.recording, view.meeting, _download(view), view.audio_url, view.places)
    return Reply(realtimekit.single(body))
