"""Films whose process died: gone on with behind what there is of them, or made from their beginning; the same films."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import google_crc32c
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.media.test_hls import bytes_of, check_segments, index_of, table_of
from tests.medialog.logs import SESSION
from tests.render.meetings import MS, SMALL, GrowingLog, Meeting, S
from tests.render.test_job import job
from tests.render.test_together import together

from tapedeck.core.errors import UnavailableError
from tapedeck.core.fmp4 import FragmentTrack, fragment
from tapedeck.core.layouts import Layout
from tapedeck.core.liveindex import line_of
from tapedeck.core.output import AudioOutput, Output
from tapedeck.core.timeline import Outage, RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped
from tapedeck.media.encode import PictureEncoder
from tapedeck.media.mux import FilmFile
from tapedeck.medialog.format import pack_event, salt_of
from tapedeck.medialog.meta import timeline_path
from tapedeck.render import feed
from tapedeck.render.job import Abandoned, Job, Take, open_log

FILM = (Output("film.mp4", SMALL),)
LOG_S, LENGTH_S = 44, 40
"""Of which two seconds are a pause, and two are before and after it."""
DEATH_S = 32


def meeting(until_s: int = LOG_S) -> Meeting:
    """Two people; one leaves and comes back; a pause."""
    found = Meeting()
    found.event(RecordingStarted(1 * S, "r"))
    found.event(RecordingPaused(11 * S + 333 * MS, "r"))
    found.event(RecordingResumed(13 * S + 333 * MS, "r"))
    found.event(RecordingStopped(43 * S, "r"))
    found.join("ada", 0)
    found.camera("ada", 0, until_s * S, close=False)
    found.microphone("ada", 0, until_s * S, 300)
    found.join("bob", 2 * S, 20 * S)
    found.camera("bob", 2 * S, 20 * S)
    found.microphone("bob", 2 * S, 20 * S, 500)
    found.join("bob", 33 * S + 100 * MS, peer="again")
    found.camera("bob", 33 * S + 200 * MS, until_s * S, peer="again", track_id="bob-again", close=False)
    return found


@dataclass(frozen=True)
class Made:
    """A finished film."""

    files: tuple[FilmFile, ...]
    hls_dir: Path
    first: int
    "The first picture that was encoded."

    @property
    def path(self) -> Path:
        return self.files[0].path


@contextmanager
def encoded() -> Iterator[list[int]]:
    """Numbers of the pictures that are encoded meanwhile."""
    indices: list[int] = []
    encode: Callable[..., Any] = PictureEncoder.encode

    def noting(encoder: PictureEncoder, frame: av.VideoFrame, index: int) -> Any:
        indices.append(index)
        return encode(encoder, frame, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PictureEncoder, "encode", noting)
        yield indices


class Folder:
    """A log, and attempts at its film."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hls_dir = root / "hls"

    def attempt(self, until_s: float | None = None, **changes: Any) -> Made | None:
        """The whole film; or it dies when it has come so far, with nothing tidied up but what nobody would find."""
        values = {"live": True, "outputs": FILM, "hls_dir": self.hls_dir, "stills": True, **changes}
        take = Take(job(self.root, **values), open_log(self.root / "log", False, threading.Event()))
        with encoded() as indices:
            try:
                while not take.is_done:
                    take.work()
                    if until_s is not None and take.progress.film_ns >= until_s * S:
                        return None
                files, _ = take.finish()
            finally:
                take.close()
        return Made(files, self.hls_dir, indices[0])

    def finish(self, **changes: Any) -> Made:
        made = self.attempt(**changes)
        assert made is not None
        return made


@pytest.fixture(autouse=True)
def short_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that of a log as short as ours only the end is read too."""
    monkeypatch.setattr(feed, "_LONG_LEAD_NS", 20 * S)


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("laid")
    meeting().lay_down(root / "log", LOG_S * S)
    return root


@pytest.fixture(scope="module")
def whole(laid: Path) -> Made:
    """The film that nobody interrupted."""
    made = Folder(laid).finish()
    assert made.first == 0
    return made


@pytest.fixture(scope="module")
def dead(laid: Path, whole: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process left that died late."""
    folder = Folder(tmp_path_factory.mktemp("dead"))
    (folder.root / "log").symlink_to(laid / "log")
    assert folder.attempt(DEATH_S + 1.9) is None
    assert index_of(folder.hls_dir)[-1].end_ns in (DEATH_S * S, (DEATH_S - 2) * S)
    return folder.root


@pytest.fixture
def folder(dead: Path, tmp_path: Path) -> Folder:
    shutil.copytree(dead / "hls", tmp_path / "hls")
    (tmp_path / "log").symlink_to((dead / "log").resolve())
    return Folder(tmp_path)


@cache
def seen(path: Path) -> list[tuple[int, NDArray[np.int16]]]:
    with av.open(str(path)) as film:
        return [(int(f.pts or 0), f.to_ndarray(format="gray").astype(np.int16)) for f in film.decode(video=0)]


@cache
def heard(path: Path) -> NDArray[np.float32]:
    with av.open(str(path)) as film:
        return np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)


def assert_same_film(made: Made, whole: Made, *, remade: int = 0) -> None:
    """Picture by picture and sample by sample; and what was played live is what is in the file.

    `remade`: segments at the end that had been played already.
    """
    pictures, expected = seen(made.path), seen(whole.path)
    assert [at for at, _ in pictures] == [at for at, _ in expected]
    worst = [float(np.abs(a - b).mean()) for (_, a), (_, b) in zip(pictures, expected, strict=True)]
    assert max(worst) < 3, f"picture {int(np.argmax(worst))} is another one"
    sound, should = heard(made.path), heard(whole.path)
    assert sound.shape == should.shape
    off = np.abs(sound - should).max(axis=0)
    assert off.max() < 0.01, f"the sound is another one at {int(off.argmax()) / 48_000:.3f} s"
    assert [(file.kind, file.duration_ns) for file in made.files] == [(f.kind, f.duration_ns) for f in whole.files]
    data, found = made.path.read_bytes(), index_of(made.hls_dir)
    table = table_of(data)
    assert [(one.start_ns, one.end_ns) for one in found] == [table.times(number) for number in range(table.count)]
    for number, one in enumerate(found[: len(found) - remade]):
        piece = table.piece(number)
        assert piece.build(data[piece.start : piece.end]) == bytes_of(made.hls_dir, one), number
    if not remade:
        head = (made.hls_dir / "init-0.mp4").read_bytes()
        check_segments(head, [(one, bytes_of(made.hls_dir, one)) for one in found])


def assert_same_stills(made: Made, whole: Made) -> None:
    for file, other in zip(made.files[1:], whole.files[1:], strict=True):
        if file.kind == "storyboard":
            assert file.path.read_text() == other.path.read_text()
        else:
            with av.open(str(file.path)) as one, av.open(str(other.path)) as another:
                a, b = (next(image.decode(video=0)).to_ndarray(format="gray").astype(int) for image in (one, another))
            assert a.shape == b.shape and np.abs(a - b).mean() < 3


def test_a_film_goes_on_behind_what_there_is_of_it(folder: Folder, whole: Made) -> None:
    """Only what is not there is encoded; film, fragments and stills are those of a film that nobody interrupted."""
    end_ns = index_of(folder.hls_dir)[-1].end_ns
    made = folder.finish()
    assert made.first == end_ns * SMALL.fps // S >= (DEATH_S - 2) * SMALL.fps
    assert_same_film(made, whole)
    assert_same_stills(made, whole)
    runs = [one.run for one in index_of(made.hls_dir)]
    assert runs == sorted(runs) and set(runs) == {0, 1}


def test_a_second_and_a_third_death_cost_no_more(folder: Folder, whole: Made) -> None:
    assert folder.attempt(DEATH_S + 0.2) is None, "before it made a fragment"
    assert folder.attempt(36.5) is None
    assert folder.attempt(39.9) is None
    made = folder.finish()
    assert made.first >= 36 * SMALL.fps
    assert_same_film(made, whole)
    assert {one.run for one in index_of(made.hls_dir)} == {0, 1, 2, 3}, "the one that made none gives its number on"


@pytest.mark.parametrize(("length_ns", "from_s"), [(10 * S, 8), (10 * S + 1 * MS, 8), (10 * S + 40 * MS, 10)])
def test_a_process_that_died_when_all_was_played_has_only_the_end_to_make(
    tmp_path: Path, length_ns: int, from_s: int
) -> None:
    """Also where no more than a picture or two are behind the last key frame."""
    story = Meeting()
    story.record(S, S + length_ns)
    story.join("ada", 0)
    story.camera("ada", 0, 12 * S, close=False)
    story.microphone("ada", 0, 12 * S)
    story.lay_down(tmp_path / "log", 13 * S)
    folder = Folder(tmp_path)
    whole = folder.finish(out_dir=tmp_path / "first")
    listed = (folder.hls_dir / "index").read_bytes()
    made = folder.finish()
    assert made.first == from_s * SMALL.fps
    assert (folder.hls_dir / "index").read_bytes() == listed
    assert_same_film(made, whole, remade=table_of(whole.path.read_bytes()).count - from_s // 2)


def test_a_film_whose_log_was_closed_meanwhile_is_gone_on_with_too(folder: Folder, whole: Made) -> None:
    """As after a restart of the server: nobody watches any more, and no further fragments are made."""
    before = index_of(folder.hls_dir)
    made = folder.finish(live=False, haste=True, hls_dir=None, past_dir=folder.hls_dir)
    assert made.first == before[-1].end_ns * SMALL.fps // S and index_of(folder.hls_dir) == before
    folder.hls_dir = folder.root / "none"
    sound, should = heard(made.path), heard(whole.path)
    assert sound.shape == should.shape and float(np.abs(sound - should).max()) < 0.01
    assert [at for at, _ in seen(made.path)] == [at for at, _ in seen(whole.path)]


def test_a_render_that_follows_its_log_goes_on_in_the_same_way(folder: Folder, whole: Made) -> None:
    """The log grows bit by bit; what is made while the beginning is copied waits for that."""
    (folder.root / "log").unlink()
    story = meeting()
    grower = GrowingLog(story, folder.root / "log", LOG_S * S)
    grower.grow(sum(entry.written_ns < 36 * S for entry in story.entries) + 36 * 4)
    values = {"live": True, "outputs": FILM, "hls_dir": folder.hls_dir, "stills": True}
    take = Take(job(folder.root, **values), open_log(folder.root / "log", False, threading.Event()))
    while not take.is_done:
        if not take.work():
            grower.grow(37)
    files, _ = take.finish()
    take.close()
    assert_same_film(Made(files, folder.hls_dir, 0), whole)


def test_a_file_of_its_sound_is_gone_on_with_too(folder: Folder) -> None:
    """It has the packets of the film's sound."""
    outputs = (*FILM, Output("sound.m4a", None, AudioOutput()))
    shutil.rmtree(folder.hls_dir)
    assert folder.attempt(16.9, outputs=outputs) is None
    made = folder.finish(outputs=outputs)
    assert made.first >= 14 * SMALL.fps
    film, sound = (heard(file.path) for file in made.files[:2])
    assert film.shape == sound.shape and np.array_equal(film, sound)


def test_films_of_one_process_go_on_together_and_share_an_encoder_again(tmp_path: Path) -> None:
    """Two recordings of one meeting: the process of both died."""
    story = Meeting()
    story.record(S, 15 * S)
    story.record(2 * S + 700 * MS, 14 * S, "later")
    story.join("ada", 0)
    story.camera("ada", 0, 16 * S, close=False)
    story.microphone("ada", 0, 16 * S)
    grower = GrowingLog(story, tmp_path / "log", 17 * S)
    grower.grow(sum(entry.written_ns < 9 * S for entry in story.entries) + 9 * 4)

    def jobs(where: str, *, live: bool) -> list[Job]:
        return [
            job(
                tmp_path,
                recording_id=name,
                live=live,
                out_dir=tmp_path / where / name,
                outputs=FILM,
                hls_dir=tmp_path / where / f"{name}-hls",
            )
            for name in ("r", "later")
        ]

    class Death(threading.Event):
        """Comes when the log has to grow."""

        def wait(self, timeout: float | None = None) -> bool:
            return True

    with pytest.raises(Abandoned):
        together(jobs("out", live=True), Death())
    while grower.grow(1000):
        pass
    left = {name: index_of(tmp_path / "out" / f"{name}-hls")[-1].end_ns * SMALL.fps // S for name in ("r", "later")}
    with encoded() as indices:
        gone_on = together(jobs("out", live=False))
    fresh = together(jobs("whole", live=False))
    missing = 14 * SMALL.fps - left["r"], (14_000 - 2700) * SMALL.fps // 1000 - left["later"]
    assert min(indices) == min(left.values()) > 0
    assert max(missing) <= len(indices) < sum(missing) - SMALL.fps, "most of them are in both films"
    for name in ("r", "later"):
        made, whole = (Made(ear.made[name][0], tmp_path / "out" / f"{name}-hls", 0) for ear in (gone_on, fresh))
        assert_same_film(made, whole)


def damaged_media(folder: Folder) -> int:
    one = index_of(folder.hls_dir)[5]
    with (folder.hls_dir / "media").open("r+b") as file:
        file.seek(one.offset + one.size - 3)
        file.write(b"xyz")
    return 5


def lost_media(folder: Folder) -> int:
    """As a machine leaves it that lost its power: a file is as long as it was, and empty."""
    one = index_of(folder.hls_dir)[6]
    with (folder.hls_dir / "media").open("r+b") as file:
        file.seek(one.offset)
        file.write(bytes(one.size))
    return 6


def torn_line(folder: Folder) -> int:
    path = folder.hls_dir / "index"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:7]) + lines[7][:20])
    return 7


def hole(folder: Folder) -> int:
    """A disk was full for a moment."""
    path = folder.hls_dir / "index"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:8] + lines[9:]))
    return 8


def other_time(folder: Folder) -> int:
    """A fragment was captured when the log does not say."""
    found = index_of(folder.hls_dir)
    found[4] = replace(found[4], last_ms=(found[4].last_ms or 0) + 5)
    (folder.hls_dir / "index").write_bytes(b"".join(line_of(one) for one in found))
    return 4


def entry_of(folder: Folder, **changes: Any) -> int:
    """The picture with which the next attempt goes on."""
    values = {"live": True, "outputs": FILM, "hls_dir": folder.hls_dir, **changes}
    take = Take(job(folder.root, **values), open_log(folder.root / "log", False, threading.Event()))
    assert take._making is not None
    picture = take._making.film._entry.picture
    take.close()
    return picture


@pytest.mark.parametrize("spoil", [damaged_media, lost_media, torn_line, hole, other_time])
def test_what_is_not_proven_is_made_again(folder: Folder, whole: Made, spoil: Callable[[Folder], int]) -> None:
    good = spoil(folder)
    assert entry_of(folder) == good * 2 * SMALL.fps
    if spoil is hole:
        made = folder.finish()
        assert made.first == good * 2 * SMALL.fps
        pictures, expected = seen(made.path), seen(whole.path)
        assert len(pictures) == len(expected)
        assert max(float(np.abs(a - b).mean()) for (_, a), (_, b) in zip(pictures, expected, strict=True)) < 3
        assert float(np.abs(heard(made.path) - heard(whole.path)).max()) < 0.01


def no_sidecar(folder: Folder) -> None:
    (folder.hls_dir / "made-0.json").unlink()


def another_version(folder: Folder) -> None:
    path = folder.hls_dir / "made-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"likeness": "another"}))


def another_head(folder: Folder) -> None:
    path = folder.hls_dir / "init-0.mp4"
    path.write_bytes(path.read_bytes().replace(b"avcC", b"avcD"))


def tried_often(folder: Folder) -> None:
    at_ns = index_of(folder.hls_dir)[-1].end_ns
    (folder.hls_dir / "tries").write_text(json.dumps({"at_ns": at_ns, "tries": 3}))


def empty_fragment(folder: Folder) -> None:
    """Whole, with nothing in it."""
    data = fragment(1, [FragmentTrack(1, 0, []), FragmentTrack(2, 3200, [])])
    first, *others = index_of(folder.hls_dir)
    first = replace(first, size=len(data), crc32c=google_crc32c.value(data))
    with (folder.hls_dir / "media").open("r+b") as file:
        file.write(data)
    (folder.hls_dir / "index").write_bytes(b"".join(line_of(one) for one in (first, *others)))


@pytest.mark.parametrize("spoil", [no_sidecar, another_version, another_head, tried_often, empty_fragment])
def test_what_may_be_another_film_is_made_from_the_beginning(
    folder: Folder, caplog: pytest.LogCaptureFixture, spoil: Callable[[Folder], None]
) -> None:
    spoil(folder)
    assert entry_of(folder) == 0
    assert "made from its beginning again" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": Layout.SPEAKER},
        {"outputs": (Output("film.mp4", replace(SMALL, quality="high")),)},
        {"outputs": (*FILM, Output("film.mp3", None, AudioOutput("mp3", 0)))},
        {"outputs": (Output("film.webm", replace(SMALL, codec="vp8"), AudioOutput("vorbis", 0)),)},
    ],
)
def test_another_job_does_not_take_what_is_there(
    folder: Folder, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    assert entry_of(folder, **changes) == 0
    assert "made from its beginning again" in caplog.text


def test_a_beginning_that_cannot_be_read_any_more_is_made_again_by_the_next(folder: Folder, whole: Made) -> None:
    take = Take(
        job(folder.root, live=True, outputs=FILM, hls_dir=folder.hls_dir),
        open_log(folder.root / "log", False, threading.Event()),
    )
    damaged_media(folder)
    with pytest.raises(UnavailableError, match="cannot be read any more"):
        while not take.is_done:
            take.work()
    take.close()
    made = folder.finish()
    assert made.first == 0
    assert float(np.abs(heard(made.path) - heard(whole.path)).max()) < 0.01


def test_what_the_log_lost_with_its_machine_is_not_in_the_film(folder: Folder) -> None:
    """The end of the log was never on the disk, and its recorder came back: it says what it has, so does the film."""
    root = folder.root
    (root / "log").unlink()
    lost = meeting(26)
    lost.entries = [entry for entry in lost.entries if entry.written_ns < 26 * S]
    lost.lay_down(root / "log", 26 * S)
    outage, stop = Outage(34 * S, 25 * S), RecordingStopped(34 * S + 1, "r")
    with timeline_path(root / "log").open("ab") as file:
        for event in (outage, stop):
            file.write(pack_event(salt_of(SESSION, SESSION), event))
    made = folder.finish(live=False)
    assert made.files[0].duration_ns == pytest.approx(22 * S, abs=40 * MS)
    assert 0 < made.first <= 22 * SMALL.fps
    fresh = Folder(root / "fresh")
    fresh.root.mkdir()
    (fresh.root / "log").symlink_to(root / "log")
    expected = seen(fresh.finish(live=False).path)
    pictures = seen(made.path)
    assert [at for at, _ in pictures] == [at for at, _ in expected]
    assert max(float(np.abs(a - b).mean()) for (_, a), (_, b) in zip(pictures, expected, strict=True)) < 3
