"""One finished file of a film: encodes pictures and samples, or takes what another file's encoder made, and writes it.

Owns the containers: MP4 (flat, its index in front) and M4A, WebM, MP3, Ogg, and the tar of a film with timed metadata
(`media/segments.py`). All streams start at exactly zero (an
encoder's priming and the reordering of pictures are told where the container can), pictures come at a constant rate,
sound ends with its last sample. Refuses to decide what is seen or heard. Media goes to disk as it is made, by
libavformat's muxers; `media/place.py` puts the index of an MP4 in front. WebM keeps its index (cues) behind the media
and tells in front where it is, as players expect of a file that was written while it grew.

A film has a CRC-32C and no SHA-256: the head is made last and read first, and of the two only a CRC can be joined
afterwards, so a SHA-256 would cost a second reading of the whole file between stop and delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.stream import Stream
from numpy.typing import NDArray

from tapedeck import __version__
from tapedeck.core.entry import Entry
from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media.containers import ARCHIVE, container_of, header_options
from tapedeck.media.encode import PictureEncoder, SoundEncoder, sound_encoder
from tapedeck.media.errors import media_errors
from tapedeck.media.lane import PICTURES, Encoder, Lane
from tapedeck.media.live import Lender, LiveStream
from tapedeck.media.passed import PassedPictures
from tapedeck.media.past import Copying, Past
from tapedeck.media.place import PartFile
from tapedeck.media.sharing import Seat, SharedPictures

if TYPE_CHECKING:  # what few films need is imported by those: a process has half of its start from imports
    from tapedeck.media.hls import HlsWriter
    from tapedeck.media.segments import Muxer, SegmentArchive

__all__ = ["FilmFile", "FilmWriter", "FilmWriters"]

_BEGINNING = Entry()
_BUFFER_SIZE = 1 << 16
_INDEX_LEAST, _INDEX_BPS = 1 << 14, 80
"""Of the index: what does not grow, and bytes a second for four chunks (a place is 8, a count that differs 12)."""


@dataclass(frozen=True, slots=True)
class FilmFile:
    """A finished film, or the sound of one."""

    path: Path
    size_bytes: int
    duration_ns: int
    crc32c: int
    "CRC-32C (Castagnoli) of the whole file, as S3 and GCS compute it."
    kind: str = "video"
    "`video` or `audio`; `poster`, `sprite` or `storyboard`."
    head: bytes = field(default=b"", repr=False)
    "The first bytes of the file, of an MP4 as far as its media; of others nothing."
    passed: bool = False
    "Its pictures are those that were sent, not encoded again."


class FilmWriter:
    """Writes one file. Not thread-safe: one call at a time, also of writers that share an encoder."""

    def __init__(
        self,
        part_path: Path,
        video: VideoOutput | None,
        audio: AudioOutput,
        *,
        created_at: datetime | None = None,
        threads: int = 1,
        head_align: int = 1,
        tells_room: bool = False,
        beside: FilmWriter | None = None,
        timed: bool = False,
        passed: bytes | None = None,
        seat: Seat | None = None,
        entry: Entry = _BEGINNING,
    ) -> None:
        """Create `part_path` and open the encoders; `threads`: of the picture encoder (0: as many as it likes).

        `video` None: sound alone. `timed`: the film becomes a tar of segments with timed metadata.

        `head_align`, `tells_room`: see `PartFile`. `beside`: another file of the same film; where its
        settings are the same its encoders are used, and what is written to it comes here too. That one then has to be
        finished first. `passed`: the first of the pictures that come encoded (`write_sent`), instead of any to encode.
        `seat`: the film's place among others that may share its picture encoder. `entry`: where it is gone on with;
        what is before that has to be copied (`media/past.py`).

        UnavailableError if the disk cannot take the file, MediaError if an encoder is missing or refuses.
        """
        self.video, self.audio = video, audio
        self._lends: dict[VideoOutput | AudioOutput, Lane] = {} if beside is None else beside._lends
        self._seat = seat
        self._entry = entry
        self._rate = audio.sample_rate
        self._fps = 0 if video is None else video.fps
        container = self._kind = ARCHIVE if timed else container_of(video, audio)
        self._archive: SegmentArchive | None = None
        with media_errors("Writing the film"):
            self._file = PartFile(part_path, head_align, tells_room=tells_room and container.is_flat)
            try:
                self._muxer: Muxer
                if timed and video is not None:
                    from tapedeck.media.segments import SegmentArchive

                    self._archive = self._muxer = SegmentArchive(self._file, video, audio, created_at)
                    self._container = self._archive.carrier
                else:
                    self._container = self._muxer = av.open(
                        self._file,
                        "w",
                        container.format,
                        options=header_options(container, video, audio),
                        container_options=dict(container.options),
                        buffer_size=_BUFFER_SIZE,
                    )
                metadata = {"encoding_tool" if container.is_flat else "encoder": f"Tapedeck {__version__}"}
                if created_at is not None:
                    metadata["creation_time"] = created_at.astimezone(UTC).isoformat(timespec="microseconds")
                self._container.metadata.update(metadata)
                self._owned: set[Lane] = set()
                self._pictures = None if video is None else self._lane(video, threads, passed)
                self._sound = self._lane(audio, threads)
                self._container.start_encoding()
                if self._archive is not None:
                    self._archive.start()
            except BaseException:
                self._file.abort()
                raise

    def _lane(self, output: VideoOutput | AudioOutput, threads: int, passed: bytes | None = None) -> Lane:
        lane = self._lends.get(output)
        if lane is not None:
            lane.streams.append((self._muxer, self._container.add_stream_from_template(lane.encoder.template)))
            return lane
        encoder: Encoder
        if isinstance(output, VideoOutput) and passed is not None:
            encoder = PassedPictures(self._container, output, passed)
        elif isinstance(output, VideoOutput):
            make = PictureEncoder if self._seat is None else self._seat.encoder
            encoder = make(self._container, output, threads, self._entry.picture)
        else:
            encoder = sound_encoder(self._container, output, self._entry.sample)
        lane = self._lends[output] = Lane(encoder, 0 if isinstance(output, VideoOutput) else self._entry.heard)
        self._owned.add(lane)
        stream: Stream = encoder.template
        if not isinstance(encoder, PICTURES | SoundEncoder):
            stream = self._container.add_stream_from_template(encoder.template)
        lane.streams.append((self._muxer, stream))
        return lane

    def lend(self, output: VideoOutput | AudioOutput) -> Lender | None:
        """The encoder with just these settings, of this file or of one that shares its encoders."""
        lane = self._lends.get(output)
        return None if lane is None else Lender(lane.encoder.template, lane.taps)

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """Encode picture `index`, shown from index / fps on: yuv420p, of the film's size, indices 0, 1, 2, ...

        The frame may be painted again when this has returned. Errors as for `write_sound`. A file of sound alone, and
        one that shares the encoder of another, passes it over.
        """
        lane = self._pictures
        if lane is not None and lane in self._owned and isinstance(lane.encoder, PictureEncoder | SharedPictures):
            with media_errors("Writing the film"):
                lane.put(lane.encoder.encode(frame, index))

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Encode the next samples, (2, n) float32; a file of one channel gets the mean.

        UnavailableError if the disk refuses (the film can be made again), MediaError for anything else.
        """
        lane = self._sound
        if lane in self._owned and not isinstance(lane.encoder, PICTURES):
            with media_errors("Writing the film"):
                if self.audio.channels == 1 and samples.ndim == 2:
                    samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
                lane.put(lane.encoder.encode(samples))
        self.expect_index()

    def expect_index(self) -> None:
        """See to room for the index of what is written."""
        self._file.expect_index(self._index_bytes())

    def copying(self, past: Past) -> Copying:
        """What brings a past into this file, and into those that share its encoders."""
        assert self._pictures is not None
        return Copying(past, self._pictures, self._sound)

    def _index_bytes(self) -> int:
        """At most, of what is written by now: sizes of samples, times of pictures, places of chunks."""
        pictures, sound = self._pictures, self._sound
        video = 0 if pictures is None else 12 * pictures.packets + 4 * pictures.keys
        return _INDEX_LEAST + video + 4 * sound.packets + _INDEX_BPS * sound.count // self._rate

    def write_sent(self, payload: bytes, film_ns: int, *, is_key: bool) -> None:
        """The next picture as it was sent, shown from `film_ns` on. Errors as for `write_sound`."""
        lane = self._pictures
        if lane is not None and lane in self._owned and isinstance(lane.encoder, PassedPictures):
            with media_errors("Writing the film"):
                lane.put(lane.encoder.put(payload, film_ns, is_key=is_key))

    def end_sent(self, film_ns: int) -> None:
        """The last picture that was sent is shown until then."""
        if self._pictures is not None and isinstance(self._pictures.encoder, PassedPictures):
            self._pictures.encoder.end(film_ns)

    def write_text(self, film_ns: int, text: str) -> None:
        """Timed metadata of a film time, before the first picture that is shown later. Only a tar has any.

        MediaError: it can be no text of a tag.
        """
        if self._archive is not None:
            with media_errors("Writing the film"):
                self._archive.write_text(film_ns, text)

    def flush(self) -> None:
        """Nothing more comes: have the encoders' last packets written, here and wherever they go. Again is no error.

        For files that share encoders; alone, `finish` does it.
        """
        with media_errors("Finishing the film"):
            for lane in self._owned:
                lane.flush()
            self._owned.clear()

    def finish(self, final_path: Path) -> FilmFile:
        """Flush, put the index where it belongs, fsync, and rename to `final_path`, which is on the same file system.

        Errors as for writing; the part file is then still there until `abort`.
        """
        if self._pictures is not None and not self._pictures.count:
            raise MediaError("The film has no pictures.")
        self.flush()
        with media_errors("Finishing the film"):
            self._muxer.close()
            size_bytes, crc32c = self._file.finish(final_path, index_to_front=self._kind.is_flat)
        encoder = None if self._pictures is None else self._pictures.encoder
        is_passed = isinstance(encoder, PassedPictures)
        if isinstance(encoder, PassedPictures):
            pictures_ns = encoder.duration_ns
        else:
            pictures_ns = 0 if encoder is None else encoder.count * 1_000_000_000 // self._fps
        sound_ns = self._sound.count * 1_000_000_000 // self._rate
        kind = "audio" if encoder is None else "video"
        return FilmFile(final_path, size_bytes, max(pictures_ns, sound_ns), crc32c, kind, self._file.head, is_passed)

    def abort(self) -> None:
        """Give up and remove the part file. Safe at any time, also after an error and after `finish`."""
        self._file.abort()


class FilmWriters:
    """All files of one film as one sink. What their settings share is encoded once."""

    def __init__(
        self,
        directory: Path,
        outputs: Sequence[Output],
        *,
        created_at: datetime | None = None,
        threads: int = 1,
        head_align: int = 1,
        tells_room: bool = False,
        live_dir: Path | None = None,
        hls_dir: Path | None = None,
        passed: bytes | None = None,
        seat: Seat | None = None,
        likeness: str = "",
        past: Past | None = None,
    ) -> None:
        """Part files are named after their outputs, hidden and with `.part` behind. Errors as of `FilmWriter`.

        `live_dir`: where the film goes as a live stream while somebody wants it (`media/spool.py`). `hls_dir`: where
        it goes as fragments for players (`media/hls.py`). `passed` and `seat` as of `FilmWriter`.

        `past`: what there is of it: the film goes on at its `entry`, and all files have one picture encoder and one of
        sound. PastRefusedError: it cannot be gone on with. `likeness`: see `media.past.Sidecar`.
        """
        entry = _BEGINNING if past is None else past.entry
        self._directory = directory
        self.live: LiveStream | None = None
        self.hls: HlsWriter | None = None
        self._writers: list[tuple[str, FilmWriter]] = []
        self._copying: Copying | None = None
        try:
            for output in outputs:
                writer = FilmWriter(
                    directory / f".{output.file_name}.part",
                    output.video,
                    output.audio,
                    created_at=created_at,
                    threads=threads,
                    head_align=head_align,
                    tells_room=tells_room,
                    beside=self._writers[0][1] if self._writers else None,
                    timed=output.timed,
                    passed=passed,
                    seat=seat,
                    entry=entry,
                )
                self._writers.append((output.file_name, writer))
            first = self._writers[0][1]
            if past is not None:
                self._go_on(past, first)
            if live_dir is not None:
                self.live = LiveStream(live_dir, outputs, first.lend, entry.sample)
            if hls_dir is not None and outputs[0].is_playable:
                from tapedeck.media.hls import HlsWriter

                self.hls = HlsWriter(hls_dir, outputs[0], first.lend, likeness, past)
        except BaseException:
            self.abort()
            raise

    def _go_on(self, past: Past, first: FilmWriter) -> None:
        from tapedeck.media.hls import head_of

        lenders = [first.lend(output) for output in (first.video, first.audio) if output is not None]
        past.check_heads(head_of([lender.template for lender in lenders if lender is not None]))
        self._copying = first.copying(past)

    def _copy(self) -> bool:
        """Copy a piece of what there was; whether there is more."""
        if self._copying is None:
            return False
        with media_errors("Writing the film"):
            if not self._copying.step():
                self._copying = None
        for _, writer in self._writers:
            writer.expect_index()
        return self._copying is not None

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """As of `FilmWriter`."""
        if self.live is not None:
            self.live.write_picture(frame, index)
        for _, writer in self._writers:
            writer.write_picture(frame, index)
        self._copy()

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """As of `FilmWriter`."""
        if self.live is not None:
            self.live.write_sound(samples)
        for _, writer in self._writers:
            writer.write_sound(samples)

    def write_sent(self, payload: bytes, film_ns: int, *, is_key: bool) -> None:
        """As of `FilmWriter`."""
        if self.live is not None:
            self.live.look_at(film_ns)
        for _, writer in self._writers:
            writer.write_sent(payload, film_ns, is_key=is_key)

    def end_sent(self, film_ns: int) -> None:
        """As of `FilmWriter`."""
        for _, writer in self._writers:
            writer.end_sent(film_ns)

    def write_text(self, film_ns: int, text: str) -> None:
        """As of `FilmWriter`."""
        for _, writer in self._writers:
            writer.write_text(film_ns, text)

    def finish(self) -> tuple[FilmFile, ...]:
        """Finish all files, in the order of the outputs."""
        for _, writer in self._writers:
            writer.flush()
        if self.live is not None:
            self.live.finish()
        if self.hls is not None:
            self.hls.finish()
        while self._copy():
            pass
        return tuple(writer.finish(self._directory / name) for name, writer in self._writers)

    def abort(self) -> None:
        """Give all up that are not finished."""
        if self.live is not None:
            self.live.abort()
        if self.hls is not None:
            self.hls.close()
        for _, writer in self._writers:
            writer.abort()
