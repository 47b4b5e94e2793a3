"""Reads a tar of HLS as a player would, byte by byte: written from the standards, not from our writer.

ISO/IEC 13818-1 for packets, tables and PES; id3.org for tags.
"""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Archive", "Cue", "read_archive"]

CLOCK = 90_000


@dataclass(frozen=True)
class Cue:
    """One ID3 tag: where it stands, and what its only frame says."""

    segment: int
    pts: int
    description: str
    text: str


@dataclass
class Archive:
    """What was in a tar."""

    names: list[str]
    playlist: str
    durations: list[float]
    segments: list[bytes]
    cues: list[Cue] = field(default_factory=list)
    pictures: list[list[int]] = field(default_factory=list)
    "PTS of the pictures of each segment, in the order of decoding."
    keys: list[bool] = field(default_factory=list)
    "Of each segment: whether its first picture is marked as a place to begin."

    def cue_times(self) -> list[tuple[float, str]]:
        """Seconds after the first picture, and texts."""
        zero = min(self.pictures[0])
        return [((cue.pts - zero) / CLOCK, cue.text) for cue in self.cues]

    def unpack(self, directory: Path) -> Path:
        """Lay the files down; the playlist."""
        for name, data in zip(self.names, [*self.segments, self.playlist.encode()], strict=True):
            (directory / name).write_bytes(data)
        return directory / "index.m3u8"


def read_archive(data: bytes) -> Archive:
    """Everything in a tar; fails where it is not as the standards say."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        members = tar.getmembers()
        assert all(member.isfile() and member.mode == 0o644 for member in members)
        files = {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    names = list(files)
    assert names[-1] == "index.m3u8" and names[:-1] == [f"segment_{n:05d}.ts" for n in range(len(names) - 1)]
    playlist = files["index.m3u8"].decode()
    assert re.findall(r"^(?!#)(.+)$", playlist, re.MULTILINE) == names[:-1]
    durations = [float(text) for text in re.findall(r"#EXTINF:([\d.]+),", playlist)]
    archive = Archive(names, playlist, durations, [files[name] for name in names[:-1]])
    counts: dict[int, int] = {}
    for number, segment in enumerate(archive.segments):
        _read_segment(archive, number, segment, counts)
    return archive


def _read_segment(archive: Archive, number: int, data: bytes, counts: dict[int, int]) -> None:
    assert len(data) % 188 == 0
    streams: dict[int, int] = {}
    pmt_pid = -1
    partial: dict[int, bytearray] = {}
    whole: list[tuple[int, bytes]] = []
    clock = -1
    for at in range(0, len(data), 188):
        packet = data[at : at + 188]
        assert packet[0] == 0x47
        pid, starts = (packet[1] & 0x1F) << 8 | packet[2], bool(packet[1] & 0x40)
        control, count = packet[3] >> 4 & 3, packet[3] & 15
        assert control & 1, "a packet without a payload"
        assert pid not in counts or count == (counts[pid] + 1) & 15, f"a gap in PID {pid:#x}"
        counts[pid] = count
        payload = packet[4:]
        if control & 2:
            field, payload = payload[1 : 1 + payload[0]], payload[1 + payload[0] :]
            if field and field[0] & 0x10:
                pcr = int.from_bytes(field[1:6]) >> 7
                assert pcr > clock
                clock = pcr
            if field and pid == 0x100 and field[0] & 0x40 and len(archive.keys) == number and starts:
                archive.keys.append(True)
        if at == 0:
            assert pid == 0
            pmt_pid = int.from_bytes(_section(payload)[8 + 2 : 8 + 4]) & 0x1FFF
        elif at == 188:
            assert pid == pmt_pid
            streams = _programme(_section(payload))
        else:
            assert pid in streams
            if starts:
                if pid in partial:
                    whole.append((pid, bytes(partial.pop(pid))))
                partial[pid] = bytearray()
            partial[pid] += payload
    whole += [(pid, bytes(rest)) for pid, rest in partial.items()]
    archive.pictures.append([])
    for pid, pes in whole:
        assert pes[:3] == b"\0\0\1"
        size, head = int.from_bytes(pes[4:6]), pes[8]
        assert size in (0, len(pes) - 6) and pes[6] & 0xC0 == 0x80
        pts = _time(pes[9:14])
        body = pes[9 + head :]
        if streams[pid] == 0x1B:
            assert body.startswith(b"\0\0\0\1\x09"), "an access unit without its delimiter"
            archive.pictures[-1].append(pts)
        elif streams[pid] == 0x15:
            assert pes[3] == 0xBD and pes[6] & 0x04, "metadata is in private_stream_1, aligned"
            archive.cues.append(Cue(number, pts, *_tag(body)))
        else:
            assert body[:2] == b"\xff\xf1"
    assert len(archive.keys) == number + 1


def _section(payload: bytes) -> bytes:
    section = payload[1 + payload[0] :]
    return section[: 3 + (int.from_bytes(section[1:3]) & 0xFFF)]


def _programme(section: bytes) -> dict[int, int]:
    """Stream types by PID. Both descriptors of the metadata must be there (Apple, 2.3 and 2.4)."""
    more = int.from_bytes(section[10:12]) & 0xFFF
    assert section[12 : 12 + more] == b"\x25\x0f\xff\xffID3 \xffID3 \x00\x1f\x00\x01"
    streams: dict[int, int] = {}
    at = 12 + more
    while at < len(section) - 4:
        kind, pid = section[at], int.from_bytes(section[at + 1 : at + 3]) & 0x1FFF
        more = int.from_bytes(section[at + 3 : at + 5]) & 0xFFF
        if kind == 0x15:
            assert section[at + 5 : at + 5 + more] == b"\x26\x0d\xff\xffID3 \xffID3 \x00\x0f"
        streams[pid] = kind
        at += 5 + more
    assert sorted(streams.values()) == [0x0F, 0x15, 0x1B]
    return streams


def _time(data: bytes) -> int:
    return (data[0] >> 1 & 7) << 30 | data[1] << 22 | (data[2] >> 1) << 15 | data[3] << 7 | data[4] >> 1


def _tag(data: bytes) -> tuple[str, str]:
    assert data[:6] == b"ID3\x04\x00\x00"
    frame = data[10:]
    assert _syncsafe(data[6:10]) == len(frame)
    assert frame[:4] == b"TXXX" and frame[8:10] == b"\0\0" and _syncsafe(frame[4:8]) == len(frame) - 10
    assert frame[10] == 3
    description, text = frame[11:].split(b"\0", 1)
    return description.decode(), text.decode()


def _syncsafe(data: bytes) -> int:
    assert all(byte < 128 for byte in data)
    return sum(byte << shift for byte, shift in zip(data, (21, 14, 7, 0), strict=True))
