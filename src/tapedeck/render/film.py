"""Makes the film of one recording from its log, as far as the log goes, picture by picture and sample by sample.

Owns the loop: which moment comes next, whether everything about it is known, who is shown and heard then. `work` goes
as far as it can and returns; called again when the log has grown it goes on, so a live film and a later one are the
same (tests/render/test_film.py). Refuses to wait, to read clocks, and to know processes (`render/child.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapedeck.core.entry import Entry
from tapedeck.core.errors import MediaError
from tapedeck.core.film import Cut
from tapedeck.core.frames import Kind
from tapedeck.core.geometry import Size
from tapedeck.core.layouts import Layout
from tapedeck.core.output import VideoOutput
from tapedeck.core.scene import OPENING_NS, Director, Scene
from tapedeck.core.timed import TimedTexts
from tapedeck.media.decode import DecodeStats, Picture
from tapedeck.media.picture import Canvas
from tapedeck.media.press import Sink
from tapedeck.media.shared import Decoders
from tapedeck.media.sharing import Shows
from tapedeck.medialog.reader import LogReader
from tapedeck.render.feed import LogFeed
from tapedeck.render.passage import Passage
from tapedeck.render.pictures import TrackPictures
from tapedeck.render.soundtrack import Soundtrack
from tapedeck.render.video import Painter

__all__ = ["Film", "FilmStats", "NothingRecordedError", "Shown"]

_S = 1_000_000_000
_READ_AHEAD_NS = 3 * _S
_SOUND_BATCH_NS = 500_000_000
_PASSING_EVERY = 15
"""Pictures between two looks at the frames of those who are hidden."""
_SKIPPED = 3000
"""Pictures that are not made, at a time."""
_BEGINNING = Entry()

Shown = tuple[int, str, int | None]
"""Film frame, tile key, media time of the picture in it (None: no picture)."""

_BATCH, _BATCH_TILES = 4, 24
"""Pictures that are made together at most, and tiles in them: each takes the memory of a decoded picture."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment of capture that is in the film, and who is seen then."""

    t_ns: int
    cut: Cut
    scene: Scene


class NothingRecordedError(MediaError):
    """The log holds no media of the recording; another attempt would find no more."""


@dataclass(frozen=True, slots=True)
class FilmStats:
    """What happened while a film was made."""

    pictures: int
    "In the film."
    scaled: int
    decoded: int
    skipped: int
    "Frames not decoded because one that they need is missing."
    errors: int
    unsupported: int
    "Frames and packets in a codec that cannot be decoded here."
    passed: int = 0
    "Pictures that are in the film as they were sent."


class Film:
    """One film in the making. Not thread-safe."""

    def __init__(
        self,
        log: LogReader,
        recording_id: str | None,
        video: VideoOutput | None,
        sink: Sink,
        *,
        layout: Layout = Layout.AUTO,
        focus: str | None = None,
        new_canvas: Callable[[Size], Canvas] = Canvas,
        part: tuple[int, int | None] | None = None,
        only: frozenset[str] | None = None,
        on_shown: Callable[[Shown], None] | None = None,
        decoders: Decoders | None = None,
        passage: Callable[[LogFeed], Passage] | None = None,
        on_shows: Callable[[int, Shows], None] | None = None,
        entry: Entry = _BEGINNING,
        from_ns: int = 0,
    ) -> None:
        """`recording_id` None: everything in the log. `video` None: its sound alone, which costs no picture anything.
        `layout` and `focus` (a participant) as `core.scene.Director`.

        `new_canvas` makes what is painted on. `part` (film times in ns) and `only` (participants) as in
        `render.feed.LogFeed`. `on_shown` hears what every tile of every picture shows. `decoders` are shared with other
        films of the log. With `passage` no picture is made, but those that were sent are passed on.
        `on_shows` hears what the next picture for the sink shows. `entry`: where a film is gone on with: the sink gets
        pictures and sound from there on. `from_ns`: when its first sample was captured.
        """
        steps = video or VideoOutput()  # without a picture its moments are still what the film goes by
        in_step = None if video is None or passage is not None else video.fps
        self._feed = LogFeed(log, recording_id, part=part, only=only, fps=in_step, from_ns=from_ns)
        self._entry = entry
        size = Size(steps.width, steps.height)
        self._director = Director(layout, size, focus)
        self._passage = None if passage is None else passage(self._feed)
        is_painted = video is not None and passage is None
        self._painter = Painter(size, fps=steps.fps, new_canvas=new_canvas) if is_painted else None
        self._sound = Soundtrack(self._feed, sink, entry.sample)
        self._texts = TimedTexts(recording_id)
        self._sink = sink
        self._on_shown = on_shown
        self._on_shows = on_shows
        self._decoders = decoders
        self._fps = steps.fps
        self._frame_ns = steps.frame_ns
        self._next = 0
        self._picture_cut = 0
        "The span of the last picture."
        self._scene = Scene(())
        "Of the last picture."
        self._reels: dict[str, TrackPictures] = {}
        self._lost = DecodeStats()
        "Of tracks that are over."

    @property
    def made_ns(self) -> int:
        """Film time up to which there are pictures."""
        return self._next * _S // self._fps

    @property
    def capture_ns(self) -> int:
        """Capture time of the next picture, for films that are made in step; 0 while that is not known."""
        moment = self._moment(self._next)
        return 0 if moment is None else moment[0]

    def capture_at(self, film_ns: int) -> int | None:
        """Capture time of a moment of the film; None while unknown."""
        cut = self._feed.film.cut_at_film(film_ns)
        return None if cut is None else cut.to_capture(film_ns)

    @property
    def behind_ns(self) -> int:
        """How much of the film the log holds that is not made yet."""
        return max(0, self._feed.film.ready_film_ns(self._feed.until_ns) - self.made_ns)

    @property
    def known_ns(self) -> int:
        """Length of the film as far as the log was read."""
        return self._feed.film.ready_film_ns(self._feed.until_ns)

    @property
    def is_stopped(self) -> bool:
        """Whether the recording was stopped, as far as the log was read."""
        return self._feed.film.ended

    @property
    def is_done(self) -> bool:
        """Whether every picture and sample is written: the writer may finish."""
        duration_ns = self._feed.film.duration_ns
        return self._feed.is_complete and duration_ns is not None and self.made_ns >= duration_ns

    @property
    def stats(self) -> FilmStats:
        all_stats = [self._lost, *(reel.stats for reel in self._reels.values())]
        passed, left_out = (0, 0) if self._passage is None else (self._passage.passed, self._passage.left_out)
        return FilmStats(
            pictures=passed if self._painter is None else self._next,
            scaled=0 if self._painter is None else self._painter.scaled,
            decoded=sum(s.decoded for s in all_stats),
            skipped=sum(s.skipped for s in all_stats) + left_out,
            errors=sum(s.errors for s in all_stats) + (0 if self._painter is None else self._painter.faults),
            unsupported=sum(s.unsupported for s in all_stats) + self._sound.unsupported,
            passed=passed,
        )

    def work(self, most: int = 30) -> int:
        """Make up to `most` pictures and the sound that goes with them; how many were made.

        0: the log must grow first, or the film is done. UnavailableError: a disk refuses; MediaError: an encoder does;
        PassageLostError: pictures cannot be passed on any more.
        """
        if self._next < self._entry.first:
            return self._skip()
        made = 0
        while made < most:
            if moments := self._known(most - made):
                if made and self._painter is not None and moments[0].cut.index != self._picture_cut:
                    break  # a pause is behind it: films that are made in step with this one come first
                self._make_pictures(moments)
                made += len(moments)
            elif not self._read_on():
                break
        if self._passage is not None and self.is_done:
            self._passage.finish(self._feed.film.duration_ns or 0)
        if made < most or self.is_done:
            self._sound.make(self.made_ns, is_done=self.is_done)
        if self.is_done:
            self._write_texts(None)
        return made

    def _skip(self) -> int:
        """Come nearer to the first picture that is made: who is seen then depends on all that was before."""
        skipped = 0
        while self._next < self._entry.first and skipped < _SKIPPED:
            moment = self._moment(self._next)
            if moment is None or moment[0] + OPENING_NS >= self._feed.ready_until_ns:
                if not self._read_on():
                    break
                continue
            t_ns, _ = moment
            self._director.scene_at(t_ns)
            self._write_texts(t_ns)
            if self._next % _PASSING_EVERY == 0:
                self._sound.pass_by(t_ns)
                for track_id, reel in list(self._reels.items()):
                    reel.pass_by(t_ns, watched=False)
                    if reel.feed.is_done:
                        self._forget(track_id)
            self._next += 1
            skipped += 1
        return skipped

    def finish(self) -> None:
        """The log will not grow any more, and `work` makes nothing more of it: let it make what is left.

        NothingRecordedError: there is nothing to make.
        """
        while self._read_on():
            pass
        self._feed.finish()
        if not self._feed.film.duration_ns:
            raise NothingRecordedError("Nothing was recorded: the log has no media in the recorded time.")

    def close(self) -> None:
        """Give the log's files back."""
        for reel in self._reels.values():
            reel.close()
        self._feed.close()

    def _moment(self, index: int) -> tuple[int, Cut] | None:
        """Capture time of a picture of the film, and its span; None while unknown or when there is none."""
        film_ns = index * _S // self._fps
        cut = self._feed.film.cut_at_film(film_ns)
        return None if cut is None else (cut.to_capture(film_ns), cut)

    def _known(self, most: int) -> list[_Moment]:
        """The next pictures about which everything is known, up to `most`; several only of one span and scene."""
        found: list[_Moment] = []
        while len(found) < most:
            moment = self._moment(self._next + len(found))
            if moment is None or moment[0] + OPENING_NS >= self._feed.ready_until_ns:
                break
            t_ns, cut = moment
            scene = self._scene if self._painter is None else self._director.scene_at(t_ns)
            if not found:
                most = min(most, self._together(scene, cut))
            elif cut is not found[0].cut or scene is not found[0].scene:
                break
            found.append(_Moment(t_ns, cut, scene))
        return found

    def _together(self, scene: Scene, cut: Cut) -> int:
        """How many pictures are made together at most: one where another scene begins."""
        if self._painter is not None and (scene is not self._scene or cut.index != self._picture_cut):
            return 1
        return max(1, min(_BATCH, _BATCH_TILES // max(1, len(scene.tiles))))

    def _read_on(self) -> bool:
        """Read a stretch of the log; False when there is nothing to read."""
        moment = self._moment(self._next)
        reach_ns = self._feed.until_ns + _S if moment is None else moment[0] + _READ_AHEAD_NS
        before = self._feed.until_ns
        events = self._feed.advance(max(reach_ns, before + 1))
        self._texts.feed(events)
        if self._passage is not None:
            return bool(events)
        if self._painter is None:
            self._pass_pictures()
            return bool(events)
        self._director.feed(events)
        for track_id, track in self._feed.tracks.items():
            if track.info.kind is Kind.VIDEO and track_id not in self._reels:
                shared = None if self._decoders is None else self._decoders.open(track_id, track.again_from)
                self._reels[track_id] = TrackPictures(track, self._feed.film, self._frame_ns, shared)
        return bool(events)

    def _pass_pictures(self) -> None:
        """Let go of what nobody will see. It was read, because the clocks of its sender are told by it."""
        for track_id, track in list(self._feed.tracks.items()):
            if track.info.kind is Kind.VIDEO:
                while track.take(self._feed.ready_until_ns):
                    pass
                if track.is_done:
                    self._feed.forget(track_id)

    def _make_pictures(self, moments: list[_Moment]) -> None:
        rows = [] if self._painter is None else self._pictures(self._painter, moments)
        for number, moment in enumerate(moments):
            self._write_texts(moment.t_ns)
            if self._passage is not None:
                self._passage.work(moment.t_ns)
            elif self._painter is not None:
                self._paint(self._painter, moment, rows[number])
            self._next += 1
            if self.made_ns - self._sound.position_ns > _SOUND_BATCH_NS:
                self._sound.make(self.made_ns, is_done=self.is_done)

    def _paint(self, painter: Painter, moment: _Moment, pictures: Sequence[Picture | None]) -> None:
        scene = moment.scene
        is_cut = moment.cut.index != self._picture_cut
        painter.paint(scene, pictures, is_cut=is_cut)
        self._scene, self._picture_cut = scene, moment.cut.index
        if self._next < self._entry.picture:
            painter.give_back()
            return
        if self._on_shown is not None:
            for tile, picture in zip(scene.tiles, pictures, strict=True):
                self._on_shown((self._next, tile.key, None if picture is None else picture.media_time))
        if self._on_shows is not None:
            self._on_shows(self._next, Shows(moment.t_ns, scene, pictures, is_cut, painter.slides))
        try:
            self._sink.write_picture(painter.seen.frame, self._next)
        finally:
            painter.give_back()

    def _pictures(self, painter: Painter, moments: list[_Moment]) -> list[list[Picture | None]]:
        """What each tile shows at each moment, by moment.

        Tile by tile: a decoder that goes on for some frames, and a scaler right behind it, find their memory in the
        cache (a twentieth of the CPU of a film, docs/explain/render.md).
        """
        scene = moments[0].scene
        is_painted = scene is self._scene
        self._pass_by(scene, moments)
        rows: list[list[Picture | None]] = [[] for _ in moments]
        for number, tile in enumerate(scene.tiles):
            reel = None if tile.track_id is None else self._reels.get(tile.track_id)
            for row, moment in zip(rows, moments, strict=True):
                picture = None if reel is None else reel.at(moment.t_ns, moment.cut)
                if picture is not None and is_painted:
                    painter.prepare(number, picture)
                row.append(picture)
        return rows

    def _pass_by(self, scene: Scene, moments: list[_Moment]) -> None:
        """Tell the tracks that nobody sees what time it is."""
        shown = {tile.track_id for tile in scene.tiles}
        passing = not scene.hides or self._next % _PASSING_EVERY == 0
        for track_id, reel in list(self._reels.items()):
            if track_id in shown or not passing:
                continue
            for moment in moments:
                reel.pass_by(moment.t_ns, watched=not scene.hides)
            if reel.feed.is_done:
                self._forget(track_id)

    def _forget(self, track_id: str) -> None:
        reel = self._reels.pop(track_id)
        reel.close()
        stats = reel.stats
        self._lost.decoded += stats.decoded
        self._lost.skipped += stats.skipped
        self._lost.errors += stats.errors
        self._lost.unsupported += stats.unsupported
        self._feed.forget(track_id)

    def _write_texts(self, until_ns: int | None) -> None:
        for film_ns, text in self._texts.take(self._feed.film.cuts, until_ns):
            self._sink.write_text(film_ns, text)
