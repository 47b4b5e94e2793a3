"""Files of tracks: what was sent is in them byte for byte, in its place, and nothing else is."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import google_crc32c
import numpy as np
import pytest
from tests.render.meetings import DELAY_NS, MS, GrowingLog, Meeting, S, clip, tone

from tapedeck.core.avc import nal_units
from tapedeck.core.errors import InvalidError, NotFoundError
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Origin
from tapedeck.core.timeline import (
    Outage,
    ParticipantJoined,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TrackClosed,
)
from tapedeck.core.wanted import TrackChoice, TrackLayer
from tapedeck.media.playback import play_pictures, play_sound
from tapedeck.render.job import Abandoned
from tapedeck.render.tracks import TrackFile, TrackJob, TrackStats, run_tracks

SOUND, PICTURE = TrackLayer("default"), TrackLayer("default-video", "video", "cam")
ALL = TrackChoice((SOUND, PICTURE))
MOST_OFF_MS = 2
"""Of a place in a file: a millisecond of rounding, and one of the clock's estimate."""


@dataclass(frozen=True)
class Made:
    """One file, read back by FFmpeg."""

    made: TrackFile
    packets: list[tuple[int, bytes]]
    "Place in ms, and what is in the block."
    duration_ms: int

    @property
    def path(self) -> Path:
        return self.made.file.path

    @property
    def times(self) -> list[int]:
        return [at for at, _ in self.packets]


def read_back(made: TrackFile) -> Made:
    data = made.file.path.read_bytes()
    assert len(data) == made.file.size_bytes
    assert google_crc32c.value(data) == made.file.crc32c
    with av.open(made.file.path) as container:
        (stream,) = container.streams
        assert stream.time_base is not None
        assert stream.time_base.denominator == 1000 and container.duration is not None
        packets = [(p.pts, bytes(p)) for p in container.demux() if p.size]
        delay = 7 if stream.type == "audio" else 0  # FFmpeg takes the codec's delay off
        return Made(made, [(at + delay, data) for at, data in packets if at is not None], container.duration // 1000)


def make(
    root: Path, choice: TrackChoice = ALL, recording_id: str = "r", out: str = "out", **changes: bool
) -> tuple[dict[str, Made], TrackStats]:
    """The files by what their names say: user, peer, stream kind, media kind."""
    job = TrackJob(root / "log", recording_id, root / out, choice, **changes)
    done, stats = run_tracks(job, threading.Event())
    assert {path.name for path in (root / out).iterdir()} == {one.file.path.name for one in done}
    return {" ".join(one.file.path.stem.split("_")[1:5]): read_back(one) for one in done}, stats


def span(meeting: Meeting, *cuts_s: float, recording_id: str = "r", choice: TrackChoice = ALL) -> None:
    """Recorded from the first to the second, from the third to the fourth, ..."""
    at = [round(cut * S) for cut in cuts_s]
    meeting.event(RecordingStarted(at[0], recording_id, choice))
    for pause, resume in zip(at[1:-1:2], at[2:-1:2], strict=True):
        meeting.event(RecordingPaused(pause, recording_id))
        meeting.event(RecordingResumed(resume, recording_id))
    meeting.event(RecordingStopped(at[-1], recording_id))


def sent(meeting: Meeting, track_id: str, from_s: float, until_s: float) -> list[tuple[int, bytes]]:
    """What a track sent in between: when it was captured (ms from then; the least delay is unknown), and the bytes."""
    found = []
    for entry in sorted(meeting.entries, key=lambda e: e.order):
        if entry.track_id == track_id and isinstance(entry.item, EncodedFrame):
            at = meeting.captured_ns(track_id, entry.item.media_time) + DELAY_NS
            if from_s * S <= at < until_s * S:
                found.append((round((at - from_s * S) / MS), entry.item.payload))
    return found


def lengths_to_units(payload: bytes) -> list[bytes]:
    units = []
    while payload:
        size = int.from_bytes(payload[:4])
        units.append(payload[4 : 4 + size])
        payload = payload[4 + size :]
    return units


def agree(file: Made, expected: list[tuple[int, bytes]], shift_ms: int = 0) -> None:
    assert [data for _, data in file.packets] == [data for _, data in expected]
    off = [at - (wanted + shift_ms) for at, (wanted, _) in zip(file.times, expected, strict=True)]
    assert max(map(abs, off)) <= MOST_OFF_MS, off


def test_frames_are_in_the_files_as_sent_and_when_they_were(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 1, 5)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 6 * S, codec=Codec.VP8)
    meeting.microphone("ada", 0, 6 * S)
    meeting.join("bob", 2 * S)
    meeting.camera("bob", 2 * S, 6 * S, codec=Codec.H264)
    meeting.lay_down(tmp_path / "log", 7 * S)
    files, stats = make(tmp_path)
    assert sorted(files) == ["ada ada-peer peer audio", "ada ada-peer peer video", "bob bob-peer peer video"]
    voice, camera = files["ada ada-peer peer audio"], files["ada ada-peer peer video"]
    # a packet that begins before the end and reaches beyond it is not in the file
    agree(voice, [(at, data) for at, data in sent(meeting, "ada-mic", 1, 5) if at + 20 <= 4000])
    pictures = sent(meeting, "ada-camera", 1, 5)
    first = next(index for index, (_, data) in enumerate(pictures) if not data[0] & 1)
    agree(camera, pictures[first:])
    assert camera.path.name.startswith("cam_ada_") and camera.path.suffix == ".webm"
    assert stats.frames == sum(len(file.packets) for file in files.values()) and stats.unsupported == 0
    his = files["bob bob-peer peer video"]
    assert his.path.suffix == ".mkv"
    expected = sent(meeting, "bob-camera", 2, 5)
    assert [lengths_to_units(data) for _, data in his.packets] == [nal_units(data) for _, data in expected]
    assert his.times[0] == pytest.approx(DELAY_NS // MS, abs=MOST_OFF_MS)
    assert [file.duration_ms for file in files.values()] == [pytest.approx(n, abs=25) for n in (4000, 4000, 3000)]


def stamp(file: Made) -> int:
    return int(file.path.stem.split("_")[5])


def test_files_of_a_connection_begin_together_and_say_when(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 1, 9)
    for who, at_s in (("ada", 0), ("bob", 3)):
        meeting.join(who, at_s * S)
        meeting.microphone(who, (at_s + 1) * S, 9 * S)
        meeting.camera(who, (at_s + 2) * S, 9 * S)
    log = meeting.lay_down(tmp_path / "log", 10 * S)
    files, _ = make(tmp_path)
    voice, camera = files["bob bob-peer peer audio"], files["bob bob-peer peer video"]
    assert voice.times[0] == pytest.approx(1020, abs=MOST_OFF_MS)
    assert camera.times[0] == pytest.approx(2020, abs=MOST_OFF_MS)
    assert stamp(voice) == stamp(camera) == round(log.meta.started_utc.timestamp() * 1000) + 3000
    assert stamp(files["ada ada-peer peer audio"]) == stamp(voice) - 2000
    with av.open(voice.path) as container:
        assert container.metadata["RECORDING_OFFSET_MS"] == "2000"


def test_pauses_are_cut_out_and_nothing_of_them_is_left(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 1, 3.005, 5, 7)
    meeting.join("ada", 0)
    meeting.microphone("ada", 0, 8 * S)
    meeting.camera("ada", 0, 8 * S, codec=Codec.VP8)
    meeting.lay_down(tmp_path / "log", 9 * S)
    files, stats = make(tmp_path)
    before = [(at, data) for at, data in sent(meeting, "ada-mic", 1, 3.005) if at + 20 <= 2005]
    after = [(at + 2005, data) for at, data in sent(meeting, "ada-mic", 5, 7) if at + 20 <= 2000]
    agree(files["ada ada-peer peer audio"], before + after)
    camera = files["ada ada-peer peer video"]
    again = [(at + 2005, data) for at, data in sent(meeting, "ada-camera", 5, 7)]
    first = next(index for index, (_, data) in enumerate(again) if not data[0] & 1)
    start = sent(meeting, "ada-camera", 1, 3.005)
    key = next(index for index, (_, data) in enumerate(start) if not data[0] & 1)
    agree(camera, start[key:] + again[first:])
    assert camera.duration_ms == pytest.approx(4005, abs=2)
    assert stats.left_out


def test_mute_and_silence_keep_their_time(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 8)
    meeting.join("ada", 0)
    meeting.microphone("ada", 0, 2 * S)
    meeting.microphone("ada", 5 * S, 7 * S)
    meeting.lay_down(tmp_path / "log", 9 * S)
    files, _ = make(tmp_path)
    (file,) = files.values()
    agree(file, sent(meeting, "ada-mic", 0, 8))
    samples = np.abs(play_sound(file.path).samples)
    loud = samples[: len(samples) // 480 * 480].reshape(-1, 480).max(axis=1) > 0.05
    heard_ms = [10 * index for index in np.flatnonzero(loud)]
    assert heard_ms[0] <= 40 and heard_ms[-1] == pytest.approx(7000, abs=40)
    assert not [at for at in heard_ms if 2060 < at < 5000], "what she did not send is silence"


def test_only_the_chosen_have_files_and_coming_back_is_another_one(tmp_path: Path) -> None:
    choice = TrackChoice((SOUND,), ("user-7", "cem"))
    meeting = Meeting()
    span(meeting, 0, 9, choice=choice)
    for who, custom, peer, start in (
        ("ada", "user-7", "first", 1),
        ("bob", "user-8", "bobs", 1),
        ("ada", "user-7", "second", 5),
        ("cem", "", "cems", 6),
    ):
        meeting.event(ParticipantJoined(start * S, who, peer, who.title(), custom))
        track = f"mic-{peer}"
        meeting.open(track, who, peer, Codec.OPUS, Origin.CAMERA, start * S)
        for number, payload in enumerate(tone(100, 440)):
            at = start * S + number * 20 * MS
            meeting.frames(track, at, (EncodedFrame(0, 0, payload, Codec.OPUS, FrameFlags.KEY),))
        meeting.event(TrackClosed((start + 2) * S + 100 * MS, track))
        meeting.camera(who, start * S, (start + 2) * S, peer=peer, track_id=f"camera-{peer}")
    meeting.lay_down(tmp_path / "log", 10 * S)
    files, _ = make(tmp_path, choice)
    assert sorted(files) == ["cem cems peer audio", "user-7 first peer audio", "user-7 second peer audio"]
    assert {one.made.layer for one in files.values()} == {"default"}


def test_nobody_of_the_chosen_is_no_failure(tmp_path: Path) -> None:
    choice = TrackChoice((SOUND, PICTURE), ("nobody",))
    meeting = Meeting()
    span(meeting, 0, 2, choice=choice)
    meeting.join("ada", 0)
    meeting.microphone("ada", 0, 2 * S)
    meeting.lay_down(tmp_path / "log", 3 * S)
    assert make(tmp_path, choice)[0] == {}
    assert make(tmp_path, TrackChoice((SOUND,), ()))[0] == {}


def test_a_shared_screen_is_a_file_of_its_own_and_stands_still(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 9)
    meeting.join("ada", 0)
    meeting.join("ada", S, peer="share", origin=Origin.SCREEN)
    meeting.screen("ada", S, 2 * S, peer="share", close=False)
    meeting.camera("ada", 0, 2 * S, close=False)
    meeting.lay_down(tmp_path / "log", 10 * S)
    files, _ = make(tmp_path)
    assert sorted(files) == ["ada ada-peer peer video", "ada share screenshare video"]
    assert files["ada share screenshare video"].duration_ms == 8000, "it is seen to the end"
    assert files["ada ada-peer peer video"].duration_ms == pytest.approx(4000, abs=60), "a camera is off after 2 s"


def test_the_sound_of_a_shared_screen_is_a_file_of_its_own(tmp_path: Path) -> None:
    """OC-53"""
    meeting = Meeting()
    span(meeting, 0, 3)
    meeting.join("ada", 0)
    meeting.microphone("ada", 0, 2 * S)
    meeting.join("ada", S, peer="share", origin=Origin.SCREEN)
    meeting.open("music", "ada", "share", Codec.OPUS, Origin.SCREEN, S)
    music = tone(50, 880)
    meeting.packets("music", ((S + n * 20 * MS, packet) for n, packet in enumerate(music)))
    meeting.lay_down(tmp_path / "log", 4 * S)
    files, _ = make(tmp_path)
    assert sorted(files) == ["ada ada-peer peer audio", "ada share screenshare audio"]
    assert [packet for _, packet in files["ada share screenshare audio"].packets] == list(music)


def test_size_and_parameters_may_change_in_a_file(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 6)
    meeting.join("ada", 0)
    for index, size in enumerate(((64, 36), (128, 72), (64, 36))):
        meeting.camera("ada", 2 * index * S, (2 * index + 2) * S, size=size, close=False)
    meeting.lay_down(tmp_path / "log", 7 * S)
    (file,), _ = [*make(tmp_path)[0].values()], None
    sizes = [picture.y.shape for picture in play_pictures(file.path)]
    assert [size for index, size in enumerate(sizes) if index == 0 or size != sizes[index - 1]] == [
        (36, 64),
        (72, 128),
        (36, 64),
    ]
    assert len(sizes) == len(file.packets) == pytest.approx(179, abs=2)


def test_another_codec_is_another_file(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 6)
    meeting.join("ada", 0)
    for index, codec in enumerate((Codec.VP8, Codec.H264, Codec.VP8)):
        meeting.camera("ada", 2 * index * S, (2 * index + 2) * S, codec=Codec.VP8, close=False)
        if codec is Codec.H264:
            other = clip(Codec.H264, 60, 64, 36, 30)
            old = [e for e in meeting.entries if e.track_id == "ada-camera"][-60:]
            meeting.entries = [e for e in meeting.entries if e not in old] + [
                replace(e, item=replace(e.item, payload=new.payload, codec=Codec.H264, flags=new.flags))
                for e, new in zip(old, other, strict=True)
                if isinstance(e.item, EncodedFrame)
            ]
    meeting.lay_down(tmp_path / "log", 7 * S)
    done, _ = run_tracks(TrackJob(tmp_path / "log", "r", tmp_path / "out", ALL), threading.Event())
    files = [read_back(one) for one in sorted(done, key=lambda one: stamp(read_back(one)))]
    assert [file.path.suffix for file in files] == [".webm", ".mkv", ".webm"]
    assert [stamp(file) - stamp(files[0]) for file in files] == [
        0,
        pytest.approx(2020, abs=3),
        pytest.approx(4020, abs=3),
    ]
    assert sum(len([*play_pictures(file.path)]) for file in files) == pytest.approx(179, abs=2)


def test_after_a_loss_pictures_begin_again_with_a_key(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 6)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 6 * S, codec=Codec.VP8, key_every=60)
    meeting.drop("ada-camera", 2500 * MS, 2700 * MS)
    meeting.lay_down(tmp_path / "log", 7 * S)
    (file,) = make(tmp_path)[0].values()
    gap = [at for at in file.times if 2480 + 20 < at < 4000]
    assert gap == [] and [at for at in file.times if at >= 4000]
    assert len([*play_pictures(file.path)]) == len(file.packets)


def test_an_outage_is_cut_like_a_pause(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 8)
    meeting.join("ada", 0, until_ns=2 * S)
    meeting.microphone("ada", 0, 2 * S)
    meeting.event(Outage(5 * S, 2 * S))
    meeting.join("ada", 5 * S, peer="back")
    meeting.open("back-mic", "ada", "back", Codec.OPUS, Origin.CAMERA, 5 * S)
    for number, payload in enumerate(tone(140, 440)):
        packet = EncodedFrame(0, 0, payload, Codec.OPUS, FrameFlags.KEY)
        meeting.frames("back-mic", 5 * S + number * 20 * MS, (packet,))
    meeting.lay_down(tmp_path / "log", 9 * S)
    files, _ = make(tmp_path)
    with av.open(files["ada back peer audio"].path) as container:
        assert container.metadata["RECORDING_OFFSET_MS"] == "2000"


def test_what_another_recording_had_kept_is_not_in_the_files(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 9 * S, "film")
    span(meeting, 3, 6, recording_id="t")
    meeting.join("ada", 0)
    meeting.microphone("ada", 0, 9 * S)
    meeting.camera("ada", 0, 9 * S, codec=Codec.VP8, key_every=15)
    meeting.lay_down(tmp_path / "log", 10 * S)
    files, _ = make(tmp_path, recording_id="t")
    assert {file.duration_ms for file in files.values()} <= {2980, 2999, 3000}
    payloads = {data for file in files.values() for _, data in file.packets}
    allowed = {data for track in ("ada-mic", "ada-camera") for _, data in sent(meeting, track, 3, 6)}
    assert payloads <= allowed | {data for _, data in sent(meeting, "ada-camera", 0, 9)}, "clips repeat"
    agree(files["ada ada-peer peer audio"], [one for one in sent(meeting, "ada-mic", 3, 6) if one[0] + 20 <= 3000])


def big(root: Path, seed: int = 1) -> tuple[Meeting, int]:
    meeting = Meeting(seed=seed, jitter_ns=60 * MS)
    span(meeting, 1, 4, 6, 11)
    for who, start in (("ada", 0), ("bob", 2)):
        meeting.join(who, start * S)
        meeting.microphone(who, start * S, 12 * S)
        meeting.camera(who, start * S, 12 * S, codec=Codec.VP8 if who == "ada" else Codec.H264)
    meeting.drop("ada-mic", 7 * S, 9 * S)
    return meeting, 13 * S


@pytest.mark.parametrize("seed", [1, 2])
def test_live_files_are_the_later_ones_byte_for_byte(tmp_path: Path, seed: int) -> None:
    meeting, until_ns = big(tmp_path, seed)
    grower = GrowingLog(meeting, tmp_path / "log", until_ns)
    luck = random.Random(seed)

    class Tail(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            grower.grow(luck.randrange(1, 90))
            return False

    live, stats = run_tracks(TrackJob(tmp_path / "log", "r", tmp_path / "live", ALL, live=True), Tail())
    while grower.grow(1000):
        pass
    later, again = run_tracks(TrackJob(tmp_path / "log", "r", tmp_path / "later", ALL), threading.Event())
    assert len(live) == 4 and stats == again
    for one, other in zip(live, later, strict=True):
        assert one.file.path.name == other.file.path.name
        assert one.file.path.read_bytes() == other.file.path.read_bytes()


def test_a_file_can_be_sought_in(tmp_path: Path) -> None:
    meeting = Meeting()
    span(meeting, 0, 30)
    meeting.join("ada", 0)
    meeting.microphone("ada", 0, 31 * S)
    meeting.camera("ada", 0, 31 * S, key_every=60)
    meeting.lay_down(tmp_path / "log", 32 * S)
    for file in make(tmp_path)[0].values():
        with av.open(file.path) as container:
            container.seek(20_000_000)
            packet = next(iter(container.demux()))
            assert packet.pts is not None and packet.is_keyframe
            assert 14_900 <= packet.pts <= 20_000, "the index leads there"


def test_giving_up_leaves_nothing_behind(tmp_path: Path) -> None:
    meeting, until_ns = big(tmp_path)
    grower = GrowingLog(meeting, tmp_path / "log", until_ns)
    grower.grow(900)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Abandoned):
        run_tracks(TrackJob(tmp_path / "log", "r", tmp_path / "out", ALL, live=True), stop)
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_job_without_a_log_or_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        run_tracks(TrackJob(tmp_path / "log", "r", tmp_path / "out", ALL), threading.Event())
    body = {"log_dir": "x", "recording_id": "r", "out_dir": "y"}
    broken: list[object] = [{}, {"layers": []}, {"user_ids": None}, "x", {"layers": 1, "user_ids": None}]
    for tracks in broken:
        with pytest.raises(InvalidError):
            TrackJob.from_dict(body | {"tracks": tracks})


def garbage() -> Iterator[tuple[str, Codec, bytes]]:
    yield "empty sound", Codec.OPUS, b""
    yield "sound too long", Codec.OPUS, b"\x1b\xff" + bytes(20)
    yield "picture without a size", Codec.VP8, b"\0\0\0"
    yield "no parameter sets", Codec.H264, b"\0\0\0\1\x65\x88"
    yield "parameter sets cut short", Codec.H264, b"\0\0\0\1\x67\x42\xe0\x1f\x80\0\0\0\1\x68\xce\0\0\0\1\x65"
    yield "no start code", Codec.H264, b"garbage"
    yield "another codec", Codec.PCMU, b"sound"


@pytest.mark.parametrize(("codec", "payload"), [c[1:] for c in garbage()], ids=[c[0] for c in garbage()])
def test_garbage_makes_no_file_and_no_failure(tmp_path: Path, codec: Codec, payload: bytes) -> None:
    meeting = Meeting()
    span(meeting, 0, 2)
    meeting.join("ada", 0)
    meeting.open("t", "ada", "ada-peer", codec, Origin.CAMERA, 0)
    meeting.frames("t", S, (EncodedFrame(0, 0, payload, codec, FrameFlags.KEY),))
    meeting.lay_down(tmp_path / "log", 3 * S)
    files, stats = make(tmp_path)
    assert files == {} and stats.left_out + stats.unsupported == 1
