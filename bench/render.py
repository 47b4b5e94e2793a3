"""Cost of a composite, and how long after the stop the film is there.

Cost: our render of four 720p30 cameras beside one `ffmpeg` command that does the same work. Same pictures and sound in,
same tiles, same scaler, same x264 preset and rate control, same AAC settings out. Both run in turns, as processes of
their own at one priority, and their whole user and system time counts, start and imports included.

Stop to file: a live render follows a log that is all there but its stop; timed from the moment the stop is in the log,
for the meeting above, and after a minute and an hour of a small one (one person, 5 pictures a second: cheap to make).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av

from bench.row import Row
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.geometry import Size
from tapedeck.core.layouts import grid
from tapedeck.core.look import BACKGROUND
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.core.timeline import (
    AudioLevel,
    ParticipantJoined,
    Progress,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
    TrackOpened,
)
from tapedeck.medialog.writer import LogWriter
from tapedeck.render.child import NICE

S = 1_000_000_000
PEOPLE = 4
SECONDS, PAIRS = 20, 3
FPS, SLOW_FPS = 30, 5
MARK_MB = 250
MARK_STOP_S = 3.0
NAMES = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Margaret Hamilton")
SOURCES = (
    "testsrc2=s=1280x720:r=30,noise=alls=8:allf=t",
    "mandelbrot=s=1280x720:r=30:start_scale=2,noise=alls=8:allf=t",
    "life=s=320x180:r=30:mold=10:ratio=0.1:death_color=#402020:life_color=#80c0a0,scale=1280:720,noise=alls=8:allf=t",
    "gradients=s=1280x720:r=30:speed=0.05:seed=7,noise=alls=8:allf=t",
)
CAMERA = (
    "-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline -pix_fmt yuv420p "
    "-b:v 2500k -maxrate 2500k -bufsize 2500k -g 3000 -x264-params repeat-headers=1:scenecut=0"
).split()


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    cpu_s: float
    wall_s: float
    rss_mb: float


def make_sources(root: Path, *seconds: int) -> None:
    """Four cameras as raw H264 and four microphones as Ogg Opus, as a browser would send them.

    `seconds`: how long each is; the last length is that of all others too.
    """
    lengths = [*seconds, *[seconds[-1]] * len(SOURCES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda it: make_source(root, it[0], it[1], lengths[it[0]]), enumerate(SOURCES)))


def make_source(root: Path, index: int, source: str, seconds: int) -> None:
    """One camera and one microphone."""
    run = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, "-t", str(seconds), *CAMERA]
    subprocess.run([*run, "-f", "h264", str(root / f"{index}.h264")], check=True)
    voice = f"sine=f={220 * (index + 1)}:r=48000,tremolo=f=4:d=0.8"
    run = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", voice, "-t", str(seconds)]
    subprocess.run([*run, "-c:a", "libopus", "-b:a", "48k", str(root / f"{index}.opus")], check=True)


def make_log(
    root: Path,
    sources: Path,
    seconds: int,
    repeat: int = 1,
    fps: int = FPS,
    people: int = PEOPLE,
    recordings: Sequence[tuple[int, str]] = ((0, "bench"),),
) -> LogWriter:
    """A media log of the sources, `repeat` times one after the other, not stopped yet."""
    writer = LogWriter(root, "bench-session", "bench-meeting", datetime.now(UTC))
    events: list[TimelineEvent] = [RecordingStarted(at_ns, name) for at_ns, name in recordings]
    media: list[tuple[int, str, EncodedFrame]] = []
    for index in range(people):
        person, peer = f"person-{index}", f"peer-{index}"
        events.append(ParticipantJoined(0, person, peer, NAMES[index % len(NAMES)]))
        for kind, codec in ((Kind.VIDEO, Codec.H264), (Kind.AUDIO, Codec.OPUS)):
            info = TrackInfo(f"{kind}-{index}", peer, person, kind, codec, channels=2 if kind is Kind.AUDIO else 0)
            writer.open_track(info)
            events.append(TrackOpened(0, info))
        media += [(at, f"video-{index}", frame) for at, frame in camera(sources / f"{index}.h264", fps)]
        media += [(at, f"audio-{index}", frame) for at, frame in microphone(sources / f"{index}.opus")]
    media = sorted((item for item in media if item[0] < seconds * S), key=lambda item: item[0])
    for event in events:
        writer.event(event)
    for lap in range(repeat):
        start_ns, next_event_ns = lap * seconds * S, 0
        for at_ns, track_id, frame in media:
            while at_ns >= next_event_ns:
                writer.event(AudioLevel(start_ns + next_event_ns, f"audio-{lap % people}", 25))
                writer.event(Progress(start_ns + next_event_ns, max(0, start_ns + next_event_ns - 40_000_000)))
                next_event_ns += 250_000_000
            ticks = seconds * (90_000 if track_id.startswith("video") else 48_000)
            writer.frame(
                track_id,
                EncodedFrame(frame.media_time + lap * ticks, start_ns + at_ns, frame.payload, frame.codec, frame.flags),
            )
            if writer.queued_bytes > 64 << 20:
                writer.sync().result()
    writer.event(Progress(repeat * seconds * S, repeat * seconds * S - 40_000_000))
    writer.sync().result()
    return writer


def end_log(writer: LogWriter, end_ns: int, names: Sequence[str] = ("bench",)) -> None:
    """Stop the recordings."""
    for name in names:
        writer.event(RecordingStopped(end_ns, name))
    writer.event(Progress(end_ns + 20_000_000, end_ns))
    writer.close().result()


def camera(path: Path, fps: int) -> list[tuple[int, EncodedFrame]]:
    """Arrival and frame of each access unit; it arrives 20 ms after it was captured."""
    frames = []
    with av.open(str(path)) as container:
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            at_ns = number * S // fps + 20_000_000
            flags = FrameFlags.KEY if packet.is_keyframe else FrameFlags.NONE
            frames.append((at_ns, EncodedFrame(number * 90_000 // fps, at_ns, bytes(packet), Codec.H264, flags)))
    return frames


def microphone(path: Path) -> list[tuple[int, EncodedFrame]]:
    """Arrival and frame of each packet of 20 ms."""
    frames = []
    with av.open(str(path)) as container:
        for number, packet in enumerate(p for p in container.demux(audio=0) if p.size):
            at_ns = number * S // 50 + 20_000_000
            frames.append((at_ns, EncodedFrame(number * 960, at_ns, bytes(packet), Codec.OPUS, FrameFlags.KEY)))
    return frames


def measure(command: list[str], stdin: str | None = None) -> tuple[Cost, str]:
    """Run a process; its cost and its output."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    if stdin is not None:
        process.stdin.write(stdin)
        process.stdin.flush()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdin.close()
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed: {output[-500:]}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024), output


def tapedeck(log: Path, out: Path, cores: str | None = None, *, haste: bool = False) -> Cost:
    """Our render of the log, as the child process that makes films in production; in `haste` after the meeting."""
    job: dict[str, object] = {"log_dir": str(log), "recording_id": "bench", "out_dir": str(out)}
    job["outputs"] = [{"file_name": "tapedeck.mp4", "video": {}}]
    command = [sys.executable, "-m", "tapedeck.render.child"]
    if cores is not None:
        command = ["taskset", "-c", cores, *command]
    cost, answer = measure(command, json.dumps({**job, "live": False, "haste": haste}) + "\n")
    last = json.loads(answer.splitlines()[-1])
    if last["event"] != "done" or last["stats"]["errors"] or last["stats"]["skipped"]:
        raise SystemExit(f"the render went wrong: {last}")
    return cost


def ffmpeg(sources: Path, out: Path, threads: int | None = None, nice: int = NICE) -> Cost:
    """One ffmpeg command for the same film; `threads` of each decoder and encoder, None for its own choice."""
    video, audio = VideoOutput(), AudioOutput()
    rects = grid(PEOPLE, Size(video.width, video.height))
    left, top = min(r.x for r in rects), min(r.y for r in rects)
    limit = [] if threads is None else ["-threads", str(threads)]
    inputs: list[str] = []
    for index in range(PEOPLE):
        inputs += [*limit, "-r", "30", "-i", str(sources / f"{index}.h264")]
    for index in range(PEOPLE):
        inputs += [*limit, "-i", str(sources / f"{index}.opus")]
    scale = "".join(f"[{i}:v]scale={r.width}:{r.height}:flags=area[v{i}];" for i, r in enumerate(rects))
    places = "|".join(f"{r.x - left}_{r.y - top}" for r in rects)
    colour = "0x{:02x}{:02x}{:02x}".format(*BACKGROUND)
    graph = (
        f"{scale}{''.join(f'[v{i}]' for i in range(PEOPLE))}xstack=inputs={PEOPLE}:layout={places}:fill={colour},"
        f"pad={video.width}:{video.height}:{left}:{top}:{colour}[v];"
        f"{''.join(f'[{PEOPLE + i}:a]' for i in range(PEOPLE))}amix=inputs={PEOPLE}:normalize=0,alimiter[a]"
    )
    rate = ["-crf", str(video.crf), "-maxrate", str(video.maxrate_bps), "-bufsize", str(2 * video.maxrate_bps)]
    encode = ["-c:v", "libx264", "-preset", video.preset, *rate, "-g", str(video.gop_s * video.fps), *limit]
    sound = ["-c:a", "aac", "-aac_coder", "fast", "-q:a", str(audio.bitrate_bps / 96_000), "-ac", "2", "-ar", "48000"]
    polite = ["nice", "-n", str(nice)]
    command = [*polite, "ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[v]", "-map", "[a]"]
    return measure([*command, *encode, *sound, "-movflags", "+faststart", str(out / "ffmpeg.mp4")])[0]


def cost_rows(root: Path) -> list[Row]:
    """Both in turns; the middle of the ratios counts."""
    make_sources(root, SECONDS)
    end_log(make_log(root / "log", root, SECONDS), SECONDS * S)
    ours, theirs, single = [], [], []
    for _ in range(PAIRS):
        ours.append(tapedeck(root / "log", root))
        theirs.append(ffmpeg(root, root))
        single.append(ffmpeg(root, root, 1))
    ratio, ratio_single = (
        statistics.median(a.cpu_s / b.cpu_s for a, b in zip(ours, peers, strict=True)) for peers in (theirs, single)
    )
    rss_mb = max(cost.rss_mb for cost in ours)
    alone = SECONDS / tapedeck(root / "log", root, cores="0").cpu_s  # wall time would measure the neighbours
    sizes = [(root / name).stat().st_size / 1e6 for name in ("tapedeck.mp4", "ffmpeg.mp4")]
    cpu, peer_cpu = (statistics.median(cost.cpu_s for cost in costs) for costs in (ours, theirs))
    what = f"render of {PEOPLE} cameras 720p30 into 720p30, {SECONDS} s"
    return [
        Row(
            f"{what}: CPU",
            f"{cpu:.1f} s, {ratio:.2f} x",
            f"ffmpeg {peer_cpu:.1f} s",
            "<= 1.0 x ffmpeg",
            ratio <= 1.0,
            f"{ratio_single:.2f} x with -threads 1; files {sizes[0]:.1f} and {sizes[1]:.1f} MB",
        ),
        Row(
            f"{what}: memory",
            f"{rss_mb:.0f} MB",
            f"ffmpeg {theirs[-1].rss_mb:.0f} MB",
            f"<= {MARK_MB} MB",
            rss_mb <= MARK_MB,
        ),
        Row(f"{what}: on one core", f"{alone:.2f} x real time", "", "> 1", alone > 1),
    ]


def stop_to_file(
    sources: Path, root: Path, seconds: int, repeat: int, video: dict[str, int], people: int = PEOPLE
) -> tuple[float, float]:
    """Seconds from the stop to the finished file, and memory in MB."""
    writer = make_log(root / "log", sources, seconds, repeat, video["fps"], people)
    job: dict[str, object] = {"log_dir": str(root / "log"), "recording_id": "bench", "out_dir": str(root)}
    job["outputs"] = [{"file_name": "live.mp4", "video": video}]
    command = [sys.executable, "-m", "tapedeck.render.child"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({**job, "live": True}) + "\n")
    process.stdin.flush()
    film_ns = -1
    for line in process.stdout:
        progress = json.loads(line)
        if progress["event"] != "progress":
            raise SystemExit(f"the render went wrong: {line}")
        if progress["film_ns"] == film_ns and film_ns > (repeat * seconds - 3) * S:
            break  # it has caught up
        film_ns = progress["film_ns"]
    stopped = time.perf_counter()
    end_log(writer, repeat * seconds * S)
    last = [json.loads(line) for line in process.stdout][-1]
    took = time.perf_counter() - stopped
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdin.close()
    process.stdout.close()
    if last["event"] != "done":
        raise SystemExit(f"the render went wrong: {last}")
    return took, usage.ru_maxrss / 1024


def stop_rows(root: Path) -> list[Row]:
    """After the meeting of the cost rows, and after a minute and an hour of a small one."""
    large = {"width": 1280, "height": 720, "fps": FPS}
    took, _ = stop_to_file(root, root / "live", SECONDS, 1, large)
    mark = f"<= {MARK_STOP_S:.0f} s to UPLOADED"
    rows = [Row(f"live render, stop to file, {PEOPLE} cameras 720p30", f"{took:.2f} s", "", mark, took <= MARK_STOP_S)]
    small = root / "small"
    small.mkdir()
    make_source(small, 0, f"testsrc2=s=160x90:r={SLOW_FPS}", 60)
    video = {"width": 320, "height": 180, "fps": SLOW_FPS}
    minute, _ = stop_to_file(small, small / "minute", 60, 1, video, people=1)
    hour, rss_mb = stop_to_file(small, small / "hour", 60, 60, video, people=1)
    note = f"{rss_mb:.0f} MB of memory at the end"
    ok = hour <= MARK_STOP_S and hour < minute + 1
    return [
        *rows,
        Row("the same after an hour", f"{hour:.2f} s", f"after a minute {minute:.2f} s", "the same", ok, note),
    ]


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        return [*cost_rows(Path(name)), *stop_rows(Path(name))]
