"""Films of web pages whose pictures are passed on: the bytes that were sent, at their times, and nothing else."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.media.live import FPS
from tests.media.marks import image_bytes
from tests.media.test_hls import bytes_of, index_of, packets_of, table_of
from tests.render.meetings import DELAY_NS, MS, GrowingLog, Meeting, S, clip, make

from tapedeck.core.avc import nal_units, to_lengths
from tapedeck.core.flv import Tag
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Origin
from tapedeck.core.output import Output, VideoOutput
from tapedeck.core.page import page_participant
from tapedeck.core.timeline import RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped, TrackClosed
from tapedeck.media.mark import checked_png
from tapedeck.media.spool import SpoolReader
from tapedeck.medialog.mark import save_mark
from tapedeck.render.film import FilmStats
from tapedeck.render.job import Job, run

SIZE = (64, 36)
MP4 = Output("a.mp4", VideoOutput(*SIZE))
PAGE = page_participant("r")
JITTER_NS = 12 * MS


def page(end_ns: int | None = 5 * S, at_ns: int = 0) -> Meeting:
    """A recording of a page; its tracks are to be added."""
    meeting = Meeting()
    meeting.event(RecordingStarted(at_ns, "r", page=True))
    if end_ns is not None:
        meeting.event(RecordingStopped(end_ns, "r"))
    meeting.join(PAGE, 0, origin=Origin.SCREEN)
    return meeting


def show(meeting: Meeting, start_ns: int, end_ns: int, **changes: Any) -> str:
    changes = {"size": SIZE, "key_every": 60, "peer": f"{PAGE}-peer"} | changes
    return meeting.screen(PAGE, start_ns, end_ns, **changes)


def job(root: Path, **changes: Any) -> Job:
    values: dict[str, Any] = {"outputs": (MP4,), "page": True}
    return Job(**{"log_dir": root / "log", "recording_id": "r", "out_dir": root / "out", **values, **changes})


def sent(meeting: Meeting, track_id: str | None = None) -> list[tuple[int, EncodedFrame]]:
    """When each picture was captured, by its sender's clock, as a recorder can know it."""
    found = []
    for entry in sorted(meeting.entries, key=lambda entry: (entry.written_ns, entry.order)):
        if isinstance(entry.item, EncodedFrame) and entry.item.codec is not Codec.OPUS and entry.track_id:
            if track_id in (None, entry.track_id):
                found.append((meeting.captured_ns(entry.track_id, entry.item.media_time) + DELAY_NS, entry.item))
    return found


@dataclass(frozen=True)
class Taken:
    """A film read back: when each picture begins and how long it is shown, what it is, and whether it stands alone."""

    pictures: list[tuple[int, int, bytes, bool]]
    lumas: list[int]

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload, _ in self.pictures]


def read(path: Path) -> Taken:
    pictures, lumas = [], []
    with av.open(str(path)) as film:
        for packet in film.demux(video=0):
            if packet.size and packet.pts is not None and packet.time_base is not None:
                start, length = (round(ticks * packet.time_base * S) for ticks in (packet.pts, packet.duration or 0))
                pictures.append((start, length, bytes(packet), packet.is_keyframe))
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            plane = frame.planes[0]
            lumas.append(memoryview(plane)[plane.line_size * 18 + 32])
    return Taken(pictures, lumas)


def passed_on(root: Path, meeting: Meeting, until_ns: int, **changes: Any) -> tuple[Taken, FilmStats]:
    meeting.lay_down(root / "log", until_ns)
    (film, *_), stats = run(job(root, **changes), threading.Event())
    assert film.passed and stats.passed == stats.pictures
    assert film.size_bytes == film.path.stat().st_size
    return read(film.path), stats


def test_the_pictures_of_a_page_are_in_its_film_byte_for_byte_at_their_times(tmp_path: Path) -> None:
    meeting = page(5 * S)
    show(meeting, 0, 6 * S)
    meeting.microphone(PAGE, 0, 6 * S)
    taken, stats = passed_on(tmp_path, meeting, 7 * S)
    expected = [(at, frame) for at, frame in sent(meeting) if at < 5 * S - JITTER_NS]
    assert 5 * FPS - 2 <= len(taken.pictures) <= 5 * FPS and stats.decoded == 0
    assert taken.payloads[: len(expected)] == [to_lengths(frame.payload) for _, frame in expected]
    assert [key for *_, key in taken.pictures[:121]] == [index % 60 == 0 for index in range(121)]
    assert taken.pictures[0][0] == 0
    errors = [start - at for (start, *_), (at, _) in zip(taken.pictures, expected, strict=False)]
    assert max(map(abs, errors[5:])) <= JITTER_NS
    for (start, length, *_), (following, *_) in pairwise(taken.pictures):
        assert abs(start + length - following) <= MS
    assert taken.pictures[-1][0] + taken.pictures[-1][1] == pytest.approx(5 * S, abs=MS)
    assert taken.lumas[:60] == pytest.approx([40 + (n * 37) % 170 for n in range(60)], abs=8)


def test_sound_is_in_step_with_the_pictures_that_are_passed_on(tmp_path: Path) -> None:
    """A tone that begins with a picture of another brightness."""
    meeting = page(4 * S)
    meeting.open("page", PAGE, f"{PAGE}-peer", Codec.H264, Origin.SCREEN, 0)
    dark, _, bright = clip(Codec.H264, 3, *SIZE, 2)
    meeting.frames("page", 0, tuple(replace(dark, media_time=n * 3000) for n in range(60)))
    meeting.frames("page", 2 * S, tuple(replace(bright, media_time=n * 3000) for n in range(90)))
    meeting.microphone(PAGE, 2 * S, 5 * S)
    meeting.lay_down(tmp_path / "log", 6 * S)
    (film,), _ = run(job(tmp_path), threading.Event())
    taken = read(film.path)
    assert film.passed
    turned = next(i for i, (a, b) in enumerate(pairwise(taken.lumas), 1) if abs(a - b) > 20)
    with av.open(str(film.path)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)[0]
    loud_ns = int(np.argmax(np.abs(sound) > 0.1)) * S // 48_000
    assert abs(taken.pictures[turned][0] - loud_ns) <= 25 * MS


def test_a_pause_is_cut_and_the_film_goes_on_with_the_next_key_frame(tmp_path: Path) -> None:
    """What was sent between the resume and its key frame needs pictures of the pause."""
    meeting = page(8 * S)
    track = show(meeting, 0, 2 * S, close=False)
    meeting.event(RecordingPaused(2 * S, "r"))
    meeting.event(RecordingResumed(5 * S, "r"))
    frames = clip(Codec.H264, 120, *SIZE, 60)
    orphans = tuple(replace(frame, media_time=n * 3000) for n, frame in enumerate(frames[50:60]))
    meeting.frames(track, 5 * S, (replace(orphans[0], flags=FrameFlags.DISCONTINUITY), *orphans[1:]))
    meeting.frames(track, 5 * S + 333 * MS, frames)
    taken, stats = passed_on(tmp_path, meeting, 10 * S)
    again = next(i for i, (start, *_) in enumerate(taken.pictures) if start >= 2 * S)
    assert taken.pictures[again][0] == pytest.approx(2 * S, abs=MS), "shown from the beginning of its span on"
    assert taken.payloads[again : again + 70] == [to_lengths(frame.payload) for frame in frames[:70]]
    assert stats.skipped == 10
    assert taken.pictures[-1][0] + taken.pictures[-1][1] == pytest.approx(5 * S, abs=MS)
    assert len(taken.lumas) == len(taken.pictures)


def test_after_a_loss_the_last_good_picture_stays_until_the_next_key_frame(tmp_path: Path) -> None:
    meeting = page(6 * S)
    track = show(meeting, 0, 7 * S)
    meeting.drop(track, S, S + 100 * MS)
    taken, stats = passed_on(tmp_path, meeting, 8 * S)
    held = max(taken.pictures, key=lambda picture: picture[1])
    assert held[0] == pytest.approx(S, abs=40 * MS) and held[1] == pytest.approx(S, abs=40 * MS)
    assert stats.skipped == 27
    assert len(taken.lumas) == len(taken.pictures), "every one can be decoded"


def test_a_page_that_is_sent_again_goes_on_in_the_same_film(tmp_path: Path) -> None:
    """Its connection broke: for a while both tracks are there."""
    meeting = page(6 * S)
    first = show(meeting, 0, 3 * S + 500 * MS, close=False)
    meeting.join(PAGE, 3 * S, peer="again", origin=Origin.SCREEN)
    second = show(meeting, 3 * S, 7 * S, peer="again", track_id="second")
    meeting.event(TrackClosed(4 * S, first))
    taken, _ = passed_on(tmp_path, meeting, 8 * S)
    after = sum(3 * S <= at < 6 * S - JITTER_NS for at, _ in sent(meeting, second))
    before = sum(at < 3 * S for at, _ in sent(meeting, first))
    assert len(taken.pictures) == pytest.approx(before + after, abs=2)
    assert len(taken.lumas) == len(taken.pictures)


@pytest.mark.parametrize("is_passed", [True, False])
def test_the_first_picture_is_the_films_own_though_people_are_recorded_beside_it(
    tmp_path: Path, is_passed: bool
) -> None:
    """It came as the film began, and was captured a little before: nobody else can have asked for it."""
    meeting = Meeting(seed=3)
    meeting.record(0, 7 * S, "people")
    meeting.join(PAGE, 0, origin=Origin.SCREEN)
    track = show(meeting, S, 6 * S, key_every=90)
    (captured_ns, first), *_ = sent(meeting, track)
    assert first.arrival_ns >= captured_ns + 2 * MS
    meeting.event(RecordingStarted(first.arrival_ns, "r", page=True))
    meeting.event(RecordingStopped(5 * S, "r"))
    if is_passed:
        taken, _ = passed_on(tmp_path, meeting, 7 * S)
        assert taken.payloads[0] == to_lengths(first.payload) and taken.pictures[0][0] == 0
    else:
        reel = make(meeting.lay_down(tmp_path / "log", 7 * S), video=VideoOutput(*SIZE))
        assert next(media_time for _, _, media_time in reel.shown) == first.media_time


@pytest.mark.parametrize("live", [True, False])
def test_a_page_that_is_sent_in_another_size_has_its_film_encoded_from_the_beginning(
    tmp_path: Path, live: bool
) -> None:
    meeting = page(7 * S)
    track = show(meeting, 0, 5 * S, close=False)
    meeting.frames(track, 5 * S, clip(Codec.H264, 120, 32, 18, 60))
    meeting.microphone(PAGE, 0, 8 * S)
    grower = GrowingLog(meeting, tmp_path / "log", 9 * S)
    while not live and grower.grow(100):
        pass
    (film,), stats = run(job(tmp_path, live=live, hls_dir=tmp_path / "hls"), grower.tail(40))
    assert not film.passed and not stats.passed and stats.pictures == 7 * FPS
    with av.open(str(film.path)) as container:
        sizes = {(frame.width, frame.height) for frame in container.decode(video=0)}
    assert sizes == {SIZE} and film.duration_ns == 7 * S
    assert [path.name for path in film.path.parent.iterdir()] == ["a.mp4"]
    fragments = index_of(tmp_path / "hls")
    assert [one.run for one in fragments] == [0, 0, 1], "players go on with the next fragment of the new film"
    assert all(0 <= after.start_ns - before.end_ns < 2 * S for before, after in pairwise(fragments))
    assert fragments[-1].end_ns == 7 * S


def test_a_page_whose_first_picture_makes_no_head_has_its_film_encoded(tmp_path: Path) -> None:
    """It says what it is, and there is no picture in it: nobody can be told of its stream, but the next one is fine."""
    meeting = page(4 * S)
    track = show(meeting, 0, 5 * S)
    _, first = sent(meeting, track)[0]
    sets = b"".join(b"\0\0\0\1" + unit for unit in nal_units(first.payload) if unit[0] & 31 in (7, 8))
    lacks = replace(first, payload=sets)
    meeting.entries = [replace(one, item=lacks) if one.item is first else one for one in meeting.entries]
    meeting.lay_down(tmp_path / "log", 6 * S)
    (film,), stats = run(job(tmp_path), threading.Event())
    assert not film.passed and stats.pictures == 4 * FPS and film.duration_ns == 4 * S
    assert len(set(read(film.path).lumas)) > 10, "it shows the page from its second key frame on"


@pytest.mark.parametrize("reason", ["vp8", "size", "watermark", "late", "never", "low"])
def test_what_does_not_fit_the_file_is_encoded(tmp_path: Path, reason: str) -> None:
    meeting = page(4 * S)
    start_ns = 2500 * MS if reason == "late" else 0
    sending: dict[str, dict[str, Any]] = {"vp8": {"codec": Codec.VP8}, "size": {"size": (32, 18)}}
    if reason != "never":
        show(meeting, start_ns, 5 * S, **sending.get(reason, {}))
    meeting.microphone(PAGE, 0, 5 * S)
    meeting.lay_down(tmp_path / "log", 6 * S)
    if reason == "watermark":
        save_mark(tmp_path / "log", "r", checked_png(image_bytes()), "left top", 8, 8)
    outputs = (replace(MP4, video=VideoOutput(*SIZE, quality="low")),) if reason == "low" else (MP4,)
    (film,), stats = run(job(tmp_path, outputs=outputs), threading.Event())
    assert not film.passed and not stats.passed and stats.pictures == 4 * FPS


def test_a_live_film_is_the_later_one_byte_for_byte(tmp_path: Path) -> None:
    meeting = page(5 * S)
    show(meeting, 0, 6 * S)
    meeting.microphone(PAGE, 0, 6 * S)
    grower = GrowingLog(meeting, tmp_path / "log", 7 * S)
    (live,), _ = run(job(tmp_path, live=True, outputs=(replace(MP4, file_name="live.mp4"),)), grower.tail(23))
    while grower.grow(100):
        pass
    (later,), _ = run(job(tmp_path, haste=True, outputs=(replace(MP4, file_name="later.mp4"),)), threading.Event())
    assert live.passed and later.passed
    assert live.path.read_bytes() == later.path.read_bytes()


def test_players_get_the_fragments_of_a_film_that_is_passed_on(tmp_path: Path) -> None:
    meeting = page(9 * S)
    show(meeting, 0, 10 * S)
    meeting.microphone(PAGE, 0, 10 * S)
    taken, _ = passed_on(tmp_path, meeting, 11 * S, hls_dir=tmp_path / "hls")
    index = index_of(tmp_path / "hls")
    assert [round(one.end_ns / S) for one in index] == [2, 4, 6, 8, 9]
    head = (tmp_path / "hls" / "init-0.mp4").read_bytes()
    film = (tmp_path / "out" / "a.mp4").read_bytes()
    table = table_of(film)
    played: list[bytes] = []
    for number, one in enumerate(index):
        found = packets_of(head + bytes_of(tmp_path / "hls", one))["video"]
        assert found[0].is_keyframe
        played += [bytes(packet) for packet in found]
        piece = table.piece(number)
        assert piece.build(film[piece.start : piece.end]) == bytes_of(tmp_path / "hls", one)
    assert played == taken.payloads and table.count == len(index)


def test_stills_are_taken_of_key_frames(tmp_path: Path) -> None:
    meeting = page(9 * S)
    show(meeting, 0, 10 * S)
    meeting.lay_down(tmp_path / "log", 11 * S)
    files, stats = run(job(tmp_path, stills=True), threading.Event())
    assert [file.kind for file in files] == ["video", "poster", "sprite", "storyboard"]
    assert files[0].passed and not any(file.passed for file in files[1:])
    assert files[-1].path.read_text().count("-->") == 5 and "00:00:09.000" in files[-1].path.read_text()
    assert stats.decoded == 0


def test_a_live_stream_has_the_pictures_that_are_passed_on(tmp_path: Path) -> None:
    meeting = page(9 * S)
    show(meeting, 0, 10 * S)
    meeting.microphone(PAGE, 0, 10 * S)
    grower = GrowingLog(meeting, tmp_path / "log", 11 * S)

    live_dir = tmp_path / "live"
    live_dir.mkdir()
    (live_dir / "wanted").touch()
    reader, tags = SpoolReader(live_dir), list[Tag]()

    class Tail(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            grower.grow(40)
            tags.extend(reader.read())
            return False

    (film,), _ = run(job(tmp_path, live=True, live_dir=live_dir), Tail())
    while not reader.is_ended:
        tags += reader.read()
    data = b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + b"".join(map(bytes, tags))
    with av.open(io.BytesIO(data), "r", format="flv") as stream:
        packets = [(packet.stream.type, bytes(packet)) for packet in stream.demux() if packet.size]
    pictures = [data for kind, data in packets if kind == "video"]
    taken = read(film.path)
    assert film.passed and len(pictures) >= 3 * FPS
    assert pictures == taken.payloads[-len(pictures) :] and taken.pictures[-len(pictures)][3]
    assert sum(kind == "audio" for kind, _ in packets) > 100
