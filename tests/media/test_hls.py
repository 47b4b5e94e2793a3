"""Fragments of a film, live and of the finished file: what every player needs of them, read back by FFmpeg."""

from __future__ import annotations

import errno
import gc
import io
import os
import struct
from itertools import pairwise
from pathlib import Path

import av
import pytest
from tests.media.live import FPS, write_second

from tapedeck.core.fmp4 import codec_of, init_segment
from tapedeck.core.liveindex import Fragment, parse_lines, segments_of
from tapedeck.core.mp4film import FilmTable, heads_of
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media import hls
from tapedeck.media.mux import FilmWriters

_S = 1_000_000_000
FILM = Output("film.mp4", VideoOutput(320, 180), AudioOutput())
SOUND = Output("film.m4a", None, AudioOutput())


def shoot(
    folder: Path,
    output: Output,
    seconds: int,
    *,
    die: bool = False,
    from_ms: int = 0,
    pause: tuple[int, int] = (0, 0),
) -> Path:
    """A film with its fragments; `die` leaves it unfinished, as a killed process does. Where the fragments are."""
    hls_dir = folder / "hls"
    writers = FilmWriters(folder, [output], hls_dir=hls_dir)
    assert writers.hls is not None
    after_s, lasts_s = pause
    writers.hls.when = lambda film_ns: from_ms + film_ns // 1_000_000 + lasts_s * 1000 * (film_ns >= after_s * _S)
    for second in range(seconds):
        write_second(writers, second, video=output.video is not None, noisy=second % 3 == 1)
    if die:
        writers.abort()
    else:
        writers.finish()
    return hls_dir


@pytest.mark.parametrize("output", [FILM, SOUND])
def test_media_is_let_go_when_it_is_in_a_fragment(tmp_path: Path, output: Output) -> None:
    writers = FilmWriters(tmp_path, [output], hls_dir=tmp_path / "hls")
    for second in range(12):
        write_second(writers, second, video=output.video is not None, noisy=False)
    gc.collect()
    held = sum(isinstance(one, hls._Unit) for one in gc.get_objects())
    writers.abort()
    assert 0 < held < 3 * (FPS + 48_000 / 1024), "what is younger than a fragment, and some that an encoder holds back"


def index_of(hls_dir: Path) -> list[Fragment]:
    return parse_lines((hls_dir / "index").read_bytes(), (hls_dir / "media").stat().st_size)[0]


def bytes_of(hls_dir: Path, one: Fragment) -> bytes:
    return (hls_dir / "media").read_bytes()[one.offset : one.offset + one.size]


def table_of(data: bytes) -> FilmTable:
    at = 0
    while data[at + 4 : at + 8] != b"moov":
        at += struct.unpack_from(">I", data, at)[0]
    size = struct.unpack_from(">I", data, at)[0]
    return FilmTable(data[at + 8 : at + size])


def packets_of(data: bytes) -> dict[str, list[av.Packet[av.VideoStream | av.AudioStream]]]:
    """Packets by kind of media, of a head and one fragment."""
    found: dict[str, list[av.Packet[av.VideoStream | av.AudioStream]]] = {"video": [], "audio": []}
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux():
            if packet.pts is not None:
                found[packet.stream.type].append(packet)  # type: ignore[arg-type]
    return found


def seconds(packet: av.Packet[av.VideoStream | av.AudioStream]) -> float:
    assert packet.pts is not None and packet.time_base is not None
    return float(packet.pts * packet.time_base)


def check_segments(head: bytes, segments: list[tuple[Fragment, bytes]], *, video: bool = True) -> None:
    """Each segment begins with a key frame, is as long as it is said to be, and goes on from the one before."""
    late = min(seconds(packet) for packet in packets_of(head + segments[0][1])["video" if video else "audio"])
    assert late < 0.1, "all is a little later, so that decoding begins at zero"
    sound_end = late
    for one, data in segments:
        start, end = one.start_ns / _S + late, one.end_ns / _S + late
        found = packets_of(head + data)
        if video:
            assert found["video"][0].is_keyframe
            times = sorted(seconds(packet) for packet in found["video"])
            assert times[0] == pytest.approx(start, abs=1e-3)
            assert times[-1] + 1 / FPS == pytest.approx(end, abs=1e-3)
            assert len(times) == round((end - start) * FPS) == len(set(times))
            order = [packet.dts for packet in found["video"]]
            assert all(a < b for a, b in pairwise(order))  # type: ignore[operator]
        first, last = found["audio"][0], found["audio"][-1]
        assert first.duration is not None and last.duration is not None and last.time_base is not None
        assert seconds(first) == pytest.approx(sound_end, abs=1e-4), "no packet of sound is missing or doubled"
        assert 0 <= seconds(first) - start < 0.022
        sound_end = seconds(last) + float(last.duration * last.time_base)
        assert abs(sound_end - end) < 0.022


def test_live_fragments_begin_with_key_frames_and_are_as_long_as_they_say(tmp_path: Path) -> None:
    hls_dir = shoot(tmp_path, FILM, 7)
    found = index_of(hls_dir)
    assert [(one.start_ns, one.end_ns) for one in found] == [(n * 2 * _S, min(n * 2 + 2, 7) * _S) for n in range(4)]
    assert [one.at_ms for one in found] == [0, 2000, 4000, 6000]
    head = (hls_dir / "init-0.mp4").read_bytes()
    check_segments(head, [(one, bytes_of(hls_dir, one)) for one in found])
    assert [codec_of(track.stsd) for track in heads_of(head)] == ["avc1.64000d", "mp4a.40.2"]


def test_fragments_of_the_finished_film_are_those_that_were_played_live(tmp_path: Path) -> None:
    hls_dir = shoot(tmp_path, FILM, 7)
    film = (tmp_path / "film.mp4").read_bytes()
    table = table_of(film)
    for number, one in enumerate(index_of(hls_dir)):
        piece = table.piece(number)
        assert table.times(number) == (one.start_ns, one.end_ns)
        assert piece.build(film[piece.start : piece.end]) == bytes_of(hls_dir, one)
    assert table.count == 4
    with pytest.raises(IndexError):
        table.piece(4)
    assert table.peak_bps > 8 * len(film) / 7


def test_joined_fragments_show_every_picture_of_the_film_at_its_time(tmp_path: Path) -> None:
    hls_dir = shoot(tmp_path, FILM, 5)
    joined = (hls_dir / "init-0.mp4").read_bytes() + (hls_dir / "media").read_bytes()

    def pictures(source: Path | io.BytesIO) -> list[tuple[float, bytes]]:
        with av.open(source, "r") as container:
            return [(round(frame.time or 0.0, 4), frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]

    played, film = pictures(io.BytesIO(joined)), pictures(tmp_path / "film.mp4")
    late = played[0][0]
    assert [picture for _, picture in played] == [picture for _, picture in film]
    assert [time - late for time, _ in played] == pytest.approx([time for time, _ in film], abs=2e-4)


def test_sound_alone_is_cut_too(tmp_path: Path) -> None:
    hls_dir = shoot(tmp_path, SOUND, 5)
    found = index_of(hls_dir)
    assert len(found) == 3 and found[-1].end_ns == pytest.approx(5 * _S, abs=22e6)
    check_segments((hls_dir / "init-0.mp4").read_bytes(), [(x, bytes_of(hls_dir, x)) for x in found], video=False)
    film = (tmp_path / "film.m4a").read_bytes()
    table = table_of(film)
    pieces = [table.piece(number) for number in range(table.count)]
    built = [(x, piece.build(film[piece.start : piece.end])) for x, piece in zip(found, pieces, strict=True)]
    check_segments(init_segment(table.heads), built, video=False)


def test_film_made_again_after_a_crash_goes_on_where_players_are(tmp_path: Path) -> None:
    hls_dir = shoot(tmp_path, FILM, 5, die=True)
    before = index_of(hls_dir)
    assert [one.run for one in before] == [0, 0]
    with (hls_dir / "index").open("ab") as index, (hls_dir / "media").open("ab") as media:
        index.write(b"[4000000000, 60")  # the line that it died in
        media.write(b"half a fragment")
    shoot(tmp_path, FILM, 8)
    found = index_of(hls_dir)
    assert found[:2] == before
    assert [(one.start_ns // _S, one.run) for one in found] == [(0, 0), (2, 0), (4, 1), (6, 1)]
    assert [one.is_break for one in segments_of(found)] == [False, False, True, False]
    heads = [(hls_dir / f"init-{one.run}.mp4").read_bytes() for one in found]
    assert heads[0] == heads[2]
    check_segments(heads[0], [(one, bytes_of(hls_dir, one)) for one in found])


def test_disk_that_refuses_costs_players_a_fragment_and_the_film_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fragments = os.pwrite, 0

    def pwrite(fd: int, data: memoryview, at: int) -> int:
        nonlocal fragments
        fragments += bytes(data[4:8]) == b"moof"
        if fragments == 2 and bytes(data[4:8]) == b"moof":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    hls_dir = shoot(tmp_path, FILM, 7)
    found = index_of(hls_dir)
    assert [one.start_ns // _S for one in found] == [0, 4, 6]
    assert [one.is_break for one in segments_of(found)] == [False, True, False]
    assert table_of((tmp_path / "film.mp4").read_bytes()).count == 4


def test_line_of_the_index_that_is_written_in_part_hides_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes five bytes at a time; of the second fragment's line it takes no more than those."""
    real, lines = os.pwrite, 0

    def pwrite(fd: int, data: memoryview, at: int) -> int:
        nonlocal lines
        if Path(os.readlink(f"/proc/self/fd/{fd}")).name != "index":
            return real(fd, data, at)
        lines += bytes(data[:1]) == b"["
        if lines == 2 and bytes(data[:1]) != b"[":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:5], at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    hls_dir = shoot(tmp_path, FILM, 7)
    assert [one.start_ns // _S for one in index_of(hls_dir)] == [0, 4, 6]
    assert (hls_dir / "index").read_bytes().count(b"\n") == 3


def test_directory_that_cannot_be_made_leaves_the_film_whole(tmp_path: Path) -> None:
    (tmp_path / "hls").write_text("a file where a directory should be")
    shoot(tmp_path, FILM, 3)
    assert table_of((tmp_path / "film.mp4").read_bytes()).count == 2


@pytest.mark.parametrize("output", [Output("film.webm", VideoOutput(320, 180, codec="vp8"), AudioOutput.of("vorbis"))])
def test_film_in_other_codecs_has_no_fragments(tmp_path: Path, output: Output) -> None:
    writers = FilmWriters(tmp_path, [output], hls_dir=tmp_path / "hls")
    write_second(writers, 0)
    writers.finish()
    assert writers.hls is None and not (tmp_path / "hls").exists()


def test_broken_index_of_a_film_is_a_value_error_and_nothing_else(tmp_path: Path) -> None:
    shoot(tmp_path, FILM, 3)
    film = (tmp_path / "film.mp4").read_bytes()
    at = film.index(b"moov") + 4
    moov = film[at : at + struct.unpack_from(">I", film, at - 8)[0] - 8]
    refused = 0
    for place in range(0, len(moov), 7):
        for broken in (moov[:place], moov[:place] + b"\xff\xff\xff\xff" + moov[place + 4 :]):
            try:
                table = FilmTable(broken)
                for number in range(min(table.count, 3)):
                    table.piece(number)
            except ValueError:
                refused += 1
    assert refused > 100
