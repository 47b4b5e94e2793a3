"""Whole renders: a job in, a film file out, live or later, whole or not at all."""

import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.medialog.logs import open_writer
from tests.render.meetings import FPS, MS, SMALL, GrowingLog, Meeting, S

from tapedeck.core.errors import InvalidError, MediaError, NotFoundError, UnavailableError
from tapedeck.core.layouts import Layout
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.core.timeline import Progress as LogProgress
from tapedeck.core.timeline import RecordingStopped, TimelineEvent
from tapedeck.media.press import Press
from tapedeck.render.job import Abandoned, Job, Progress, run


def meeting_of_two(end_ns: int | None = 3 * S) -> Meeting:
    meeting = Meeting()
    meeting.record(0, end_ns)
    for who in ("ada", "bob"):
        meeting.join(who, 0)
        meeting.camera(who, 0, 4 * S, close=False)
    meeting.microphone("ada", 0, 4 * S)
    return meeting


def job(root: Path, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "log_dir": root / "log",
        "recording_id": "r",
        "out_dir": root / "out",
        "outputs": (Output("a.mp4", SMALL),),
    }
    return Job(**{**values, **changes})


def test_a_log_becomes_a_film_file(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    told: list[Progress] = []
    (file,), stats = run(job(tmp_path), threading.Event(), told.append)
    assert file.path == tmp_path / "out" / "a.mp4" and file.size_bytes == file.path.stat().st_size
    assert file.duration_ns == 3 * S and stats.pictures == 3 * FPS and stats.errors == 0
    assert [path.name for path in file.path.parent.iterdir()] == ["a.mp4"]
    assert told[-1] == Progress(3 * S, 0)
    with av.open(str(file.path)) as film:
        pictures = list(film.decode(video=0))
        assert len(pictures) == 3 * FPS and (pictures[0].width, pictures[0].height) == (160, 90)
        assert len({int(np.asarray(p.to_ndarray())[20, 40]) for p in pictures}) > 20
    with av.open(str(file.path)) as film:
        sound = np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
        assert abs(sound.shape[1] - 3 * 48_000) <= 1024 and float(np.abs(sound).max()) > 0.2


def test_the_smallest_film_there_may_be_has_room_for_one_of_two(tmp_path: Path) -> None:
    """The contract takes sides from one pixel on: two of them are no room for a second person."""
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    outputs = (Output("a.mp4", VideoOutput(2, 2)), Output("a.m4a", None))
    (film, sound, *stills), stats = run(job(tmp_path, outputs=outputs, stills=True), threading.Event())
    assert (film.duration_ns, sound.duration_ns, stats.pictures, len(stills)) == (3 * S, 3 * S, 90, 3)


def test_a_live_render_follows_a_growing_log_and_ends_with_the_recording(tmp_path: Path) -> None:
    """Each piece of the log is written when the render says that it has used up the one before."""
    grower = GrowingLog(meeting_of_two(), tmp_path / "log", 5 * S)
    asked = threading.Event()

    class Tail(threading.Event):
        """A stop that is never set; waiting on it means that the render wants more."""

        def wait(self, timeout: float | None = None) -> bool:
            if not grower.grow(40):
                asked.set()
            return False

    (file,), stats = run(job(tmp_path, live=True), Tail())
    assert stats.pictures == 3 * FPS and file.duration_ns == 3 * S
    assert not asked.is_set()  # it ended by itself, with the log


@pytest.mark.parametrize(
    ("options", "hastes"),
    [
        ({"live": True}, [False, True]),
        ({}, [False]),
        ({"threads": 2}, [True]),
        ({"haste": True}, [True]),
        ({"live": True, "haste": True}, [True]),
    ],
)
def test_only_who_is_behind_or_has_the_cores_encodes_beside_painting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], hastes: list[bool]
) -> None:
    meeting = Meeting()
    meeting.record(0, 12 * S)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 13 * S, close=False)
    meeting.lay_down(tmp_path / "log", 14 * S)
    seen: list[bool] = []

    class Noting(Press):
        def write_picture(self, frame: av.VideoFrame, index: int) -> None:
            seen.append(self.beside)
            super().write_picture(frame, index)

    monkeypatch.setattr("tapedeck.render.making.Press", Noting)
    (file,), stats = run(job(tmp_path, **options), threading.Event())
    assert file.duration_ns == 12 * S and stats.pictures == 12 * FPS
    assert sorted(set(seen)) == hastes
    assert seen[0] is (hastes == [True])


def contents(path: Path) -> tuple[list[Any], bytes]:
    """Brightness of each picture of a film, and its sound as encoded."""
    with av.open(str(path)) as film:
        pictures = [np.asarray(frame.to_ndarray(format="gray")).astype(int) for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        return pictures, b"".join(bytes(packet) for packet in film.demux(audio=0) if packet.size)


def test_a_live_film_is_the_later_one(tmp_path: Path) -> None:
    """Not byte by byte: one run of x264 in fifty differs from the others in some coefficients, given the same input."""
    grower = GrowingLog(meeting_of_two(), tmp_path / "log", 5 * S)
    (live,), _ = run(job(tmp_path, live=True, outputs=(Output("live.mp4", SMALL),)), grower.tail(23))
    while grower.grow(100):
        pass
    (later,), _ = run(job(tmp_path, outputs=(Output("later.mp4", SMALL),)), threading.Event())
    assert live.duration_ns == later.duration_ns
    (live_pictures, live_sound), (later_pictures, later_sound) = contents(live.path), contents(later.path)
    assert live_sound == later_sound
    assert len(live_pictures) == len(later_pictures) == 3 * FPS
    assert all(np.abs(a - b).mean() < 0.5 for a, b in zip(live_pictures, later_pictures, strict=True))


def test_a_live_render_waits_for_its_log_to_come_into_being(tmp_path: Path) -> None:
    waits = 0

    class Tail(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal waits
            waits += 1
            if waits == 3:
                meeting_of_two().lay_down(tmp_path / "log", 5 * S)
            return False

    _, stats = run(job(tmp_path, live=True), Tail())
    assert stats.pictures == 3 * FPS and waits >= 3


def test_a_live_render_follows_the_real_writer(tmp_path: Path) -> None:
    meeting = meeting_of_two(None)
    writer = open_writer(tmp_path / "log")
    begun = threading.Event()
    result: list[Any] = []
    thread = threading.Thread(
        target=lambda: result.append(run(job(tmp_path, live=True), threading.Event(), lambda p: begun.set()))
    )
    thread.start()
    for info in meeting.tracks.values():
        writer.open_track(info)
    for entry in sorted(meeting.entries, key=lambda e: (e.written_ns, e.order)):
        if entry.track_id is None:
            assert isinstance(entry.item, TimelineEvent)
            writer.event(entry.item)
        else:
            writer.frame(entry.track_id, entry.item)  # type: ignore[arg-type]
    for last in (LogProgress(4 * S, 4 * S - MS), RecordingStopped(4 * S, "r"), LogProgress(5 * S, 5 * S - MS)):
        writer.event(last)
    writer.close().result(300)
    thread.join(300)
    assert len(result) == 1 and result[0][1].pictures == 4 * FPS


def test_a_render_that_is_told_to_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    meeting_of_two(None).lay_down(tmp_path / "log", 3 * S)
    stop = threading.Event()

    class Tail(threading.Event):
        def is_set(self) -> bool:
            return stop.is_set()

        def wait(self, timeout: float | None = None) -> bool:
            stop.set()
            return True

    with pytest.raises(Abandoned):
        run(job(tmp_path, live=True), Tail())
    assert list((tmp_path / "out").iterdir()) == []


def test_a_film_of_an_earlier_attempt_is_replaced(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".a.mp4.part").write_bytes(b"left by a crash")
    (tmp_path / "out" / "a.mp4").write_bytes(b"old")
    (file,), _ = run(job(tmp_path), threading.Event())
    assert file.path.stat().st_size == file.size_bytes > 1000
    assert [path.name for path in file.path.parent.iterdir()] == ["a.mp4"]


def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        run(job(tmp_path), threading.Event())
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    with pytest.raises(MediaError, match="Nothing was recorded"):
        run(job(tmp_path, recording_id="another"), threading.Event())
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="directory for the film"):
        run(job(tmp_path, out_dir=tmp_path / "file" / "x"), threading.Event())


BODY: dict[str, Any] = {
    "log_dir": "/logs/s",
    "recording_id": "r",
    "out_dir": "/films",
    "outputs": [{"file_name": "f.mp4", "video": {"width": 640, "height": 360}}],
}


def test_a_job_is_read_from_json() -> None:
    sound = {"file_name": "f.mp3", "video": None, "audio": {"codec": "mp3", "channels": 1}}
    read = Job.from_dict({**BODY, "live": True, "outputs": [*BODY["outputs"], sound], "unknown": 1})
    assert read.canvas == VideoOutput(width=640, height=360) and read.live and read.threads == 1
    assert not read.is_hasty and Job.from_dict({**BODY, "haste": True}).is_hasty
    assert read.log_dir == Path("/logs/s")
    assert read.outputs[1] == Output("f.mp3", None, AudioOutput("mp3", channels=1))
    assert Job.from_dict({**BODY, "recording_id": None}).recording_id is None
    assert Job.from_dict({**BODY, "outputs": [sound]}).canvas is None
    assert (read.layout, read.focus) == (Layout.AUTO, None)
    chosen = Job.from_dict({**BODY, "layout": "single", "focus": "ada"})
    assert (chosen.layout, chosen.focus) == (Layout.SINGLE, "ada")


def film(**video: Any) -> dict[str, Any]:
    return {"file_name": "f.mp4", "video": video}


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": []},
        {"outputs": [film() | {"file_name": "../f.mp4"}]},
        {"outputs": [film() | {"file_name": ""}]},
        {"outputs": [film(), film()]},
        {"outputs": [film(), film(width=640) | {"file_name": "g.mp4"}]},
        {"log_dir": None},
        {"outputs": [film(width=641)]},
        {"outputs": [film(width=0)]},
        {"outputs": [film(width="640")]},
        {"outputs": [film(height=99_999)]},
        {"outputs": [film(fps=0)]},
        {"outputs": [film(colour=1)]},
        {"outputs": [film(quality="best")]},
        {"outputs": [film() | {"video": [1]}]},
        {"outputs": [film() | {"audio": {"channels": 6}}]},
        {"outputs": "f.mp4"},
        {"head_align": 0},
        {"head_align": "wide"},
        {"recording_id": None, "live": True},
        {"layout": "mosaic"},
        {"layout": None},
        {"focus": "ada"},
        {"layout": "grid", "focus": "ada"},
    ],
)
def test_a_malformed_job_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Job.from_dict({**BODY, **change})


def sound_of(path: Path) -> Any:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_a_film_and_its_sound_are_made_at_once(tmp_path: Path) -> None:
    """The packets of the film's sound are those of the file of sound: they were made once."""
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    outputs = (
        Output("a.mp4", SMALL),
        Output("a.m4a", None),
        Output("a.mp3", None, AudioOutput.of("mp3", 1)),
        Output("a.ogg", None, AudioOutput.of("vorbis")),
    )
    files, stats = run(job(tmp_path, outputs=outputs), threading.Event())
    assert [(file.path.name, file.kind) for file in files] == [
        ("a.mp4", "video"),
        ("a.m4a", "audio"),
        ("a.mp3", "audio"),
        ("a.ogg", "audio"),
    ]
    assert {file.duration_ns for file in files} == {3 * S} and stats.pictures == 3 * FPS
    assert contents(files[0].path)[1] == packets(files[1].path)
    for file in files[1:]:
        sound = sound_of(file.path)
        assert abs(sound.shape[1] - 3 * 48_000) <= 1152 and float(np.abs(sound).max()) > 0.2


def packets(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0) if packet.size)


def test_sound_alone_decodes_no_picture_and_is_that_of_the_film(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    (film, _), _ = run(job(tmp_path, outputs=(Output("a.mp4", SMALL), Output("a.m4a", None))), threading.Event())
    (alone,), stats = run(job(tmp_path, outputs=(Output("b.m4a", None),)), threading.Event())
    assert (stats.pictures, stats.decoded, stats.scaled) == (0, 0, 0)
    assert alone.kind == "audio" and alone.duration_ns == 3 * S
    assert packets(alone.path) == contents(film.path)[1]
    assert [stream.type for stream in av.open(str(alone.path)).streams] == ["audio"]


@pytest.mark.parametrize("codec", ["vp8", "vp9"])
def test_live_and_later_are_the_same_in_every_container(codec: str, tmp_path: Path) -> None:
    grower = GrowingLog(meeting_of_two(), tmp_path / "log", 5 * S)
    video = VideoOutput(SMALL.width, SMALL.height, SMALL.fps, codec)

    def outputs(name: str) -> tuple[Output, ...]:
        sound = AudioOutput.of("vorbis")
        return Output(f"{name}.webm", video, sound), Output(f"{name}.ogg", None, sound)

    live, _ = run(job(tmp_path, live=True, outputs=outputs("live")), grower.tail(40))
    later, _ = run(job(tmp_path, outputs=outputs("later")), threading.Event())
    assert [file.duration_ns for file in live] == [file.duration_ns for file in later] == [3 * S, 3 * S]
    for one, other in zip(live, later, strict=True):
        assert packets(one.path) == packets(other.path)
    assert np.array_equal(contents(live[0].path)[0], contents(later[0].path)[0])
