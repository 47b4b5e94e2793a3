"""Cost of a composite: Tapedeck's render of four 720p30 cameras beside one `ffmpeg` command that does the same work.

Same pictures and sound in, same tiles, same scaler, same x264 preset and rate control, same AAC settings out. Both run
in turns, as processes of their own, and their whole user and system time counts, start and imports included.

    python bench/render.py [--seconds 20] [--pairs 3] [--hour]

Then a live render is followed to its stop: from the moment the stop is in the log to the finished file, after a short
recording and, with `--hour`, after an hour-long one (small pictures, so that it takes minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av

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

S = 1_000_000_000
PEOPLE = 4
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


def make_sources(root: Path, seconds: int, *, small: bool = False) -> None:
    """Four cameras as raw H264 and four microphones as Ogg Opus, as a browser would send them."""
    for index, source in enumerate(SOURCES):
        scaled = f"{source},scale=160:90" if small else source
        run = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", scaled, "-t", str(seconds), *CAMERA]
        subprocess.run([*run, "-f", "h264", str(root / f"{index}.h264")], check=True)
        voice = f"sine=f={220 * (index + 1)}:r=48000,tremolo=f=4:d=0.8"
        run = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", voice, "-t", str(seconds)]
        subprocess.run([*run, "-c:a", "libopus", "-b:a", "48k", str(root / f"{index}.opus")], check=True)


def make_log(root: Path, sources: Path, seconds: int, repeat: int = 1) -> LogWriter:
    """A media log of the four, `repeat` times one after the other, not stopped yet."""
    writer = LogWriter(root, "bench-session", "bench-meeting", datetime.now(UTC))
    events: list[TimelineEvent] = [RecordingStarted(0, "bench")]
    media: list[tuple[int, str, EncodedFrame]] = []
    for index in range(PEOPLE):
        person, peer = f"person-{index}", f"peer-{index}"
        events.append(ParticipantJoined(0, person, peer, NAMES[index]))
        for kind, codec in ((Kind.VIDEO, Codec.H264), (Kind.AUDIO, Codec.OPUS)):
            info = TrackInfo(f"{kind}-{index}", peer, person, kind, codec, channels=2 if kind is Kind.AUDIO else 0)
            writer.open_track(info)
            events.append(TrackOpened(0, info))
        media += [(at, f"video-{index}", frame) for at, frame in camera(sources / f"{index}.h264")]
        media += [(at, f"audio-{index}", frame) for at, frame in microphone(sources / f"{index}.opus")]
    media.sort(key=lambda item: item[0])
    for event in events:
        writer.event(event)
    for lap in range(repeat):
        start_ns, next_event_ns = lap * seconds * S, 0
        for at_ns, track_id, frame in media:
            while at_ns >= next_event_ns:
                writer.event(AudioLevel(start_ns + next_event_ns, f"audio-{lap % PEOPLE}", 25))
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


def end_log(writer: LogWriter, end_ns: int) -> None:
    """Stop the recording."""
    for last in (RecordingStopped(end_ns, "bench"), Progress(end_ns + 20_000_000, end_ns)):
        writer.event(last)
    writer.close().result()


def camera(path: Path) -> list[tuple[int, EncodedFrame]]:
    """Arrival and frame of each access unit; it arrives 20 ms after it was captured."""
    frames = []
    with av.open(str(path)) as container:
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            at_ns = number * S // 30 + 20_000_000
            flags = FrameFlags.KEY if packet.is_keyframe else FrameFlags.NONE
            frames.append((at_ns, EncodedFrame(number * 3000, at_ns, bytes(packet), Codec.H264, flags)))
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


def tapedeck(log: Path, out: Path, cores: str | None = None, threads: int = 1) -> Cost:
    """Our render of the log, as the child process that makes films in production."""
    job = {"log_dir": str(log), "recording_id": "bench", "out_dir": str(out), "file_name": "tapedeck.mp4"}
    command = [sys.executable, "-m", "tapedeck.render.child"]
    if cores is not None:
        command = ["taskset", "-c", cores, *command]
    cost, answer = measure(command, json.dumps({**job, "live": False, "threads": threads}) + "\n")
    last = json.loads(answer.splitlines()[-1])
    if last["event"] != "done" or last["stats"]["errors"] or last["stats"]["skipped"]:
        raise SystemExit(f"the render went wrong: {last}")
    return cost


def ffmpeg(sources: Path, out: Path, threads: int | None = None) -> Cost:
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
    command = ["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[v]", "-map", "[a]"]
    return measure([*command, *encode, *sound, "-movflags", "+faststart", str(out / "ffmpeg.mp4")])[0]


def compare(sources: Path, log: Path, out: Path, pairs: int, seconds: int) -> None:
    """Run both in turns and print costs and ratios."""
    print(f"render: {PEOPLE} cameras 720p30 H264 2.5 Mbit/s + Opus -> 720p30 grid, {seconds} s of film, {pairs} pairs")
    ours, theirs, single = [], [], []
    for pair in range(pairs):
        ours.append(tapedeck(log, out))
        theirs.append(ffmpeg(sources, out))
        single.append(ffmpeg(sources, out, 1))
        print(
            f"  {pair + 1}: tapedeck {ours[-1].cpu_s:.2f} s   ffmpeg {theirs[-1].cpu_s:.2f} s   "
            f"ffmpeg -threads 1 {single[-1].cpu_s:.2f} s"
        )
    for name, peers in (("ffmpeg", theirs), ("ffmpeg -threads 1", single)):
        ratio = statistics.median(a.cpu_s / b.cpu_s for a, b in zip(ours, peers, strict=True))
        print(f"  CPU against {name}: {ratio:.3f}" + ("   (mark: at most 1.0)" if peers is theirs else ""))
    print(f"  memory: {max(c.rss_mb for c in ours):.0f} MB (mark: at most 250); ffmpeg {theirs[-1].rss_mb:.0f} MB")
    alone = tapedeck(log, out, cores="0")
    print(f"  on one core: {seconds / alone.wall_s:.2f} x real time (mark: above 1)")
    sizes = [(out / name).stat().st_size / 1e6 for name in ("tapedeck.mp4", "ffmpeg.mp4")]
    print(f"  file sizes: tapedeck {sizes[0]:.2f} MB, ffmpeg {sizes[1]:.2f} MB")


def stop_to_done(sources: Path, root: Path, seconds: int, repeat: int, size: tuple[int, int]) -> None:
    """Follow a log that is all there but its stop; then stop it, and time what is left to do."""
    writer = make_log(root / "log", sources, seconds, repeat)
    job = {"log_dir": str(root / "log"), "recording_id": "bench", "out_dir": str(root), "file_name": "live.mp4"}
    video = {"width": size[0], "height": size[1]}
    command = [sys.executable, "-m", "tapedeck.render.child"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({**job, "live": True, "video": video}) + "\n")
    process.stdin.flush()
    begun, film_ns = time.perf_counter(), -1
    for line in process.stdout:
        progress = json.loads(line)
        if progress["event"] != "progress":
            raise SystemExit(f"the render went wrong: {line}")
        if progress["film_ns"] == film_ns and film_ns > (repeat * seconds - 3) * S:
            break  # it has caught up
        film_ns = progress["film_ns"]
    caught_up = time.perf_counter() - begun
    stopped = time.perf_counter()
    end_log(writer, repeat * seconds * S)
    last = [json.loads(line) for line in process.stdout][-1]
    done = time.perf_counter() - stopped
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    process.stdin.close()
    process.stdout.close()
    print(
        f"stop to file, {size[0]}x{size[1]}, {repeat * seconds} s of film: {done:.2f} s "
        f"({last['files'][0]['size_bytes'] / 1e6:.0f} MB, {usage.ru_maxrss / 1024:.0f} MB of memory, "
        f"{repeat * seconds / caught_up:.1f} x real time before)"
    )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--hour", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_sources(root, options.seconds)
        end_log(make_log(root / "log", root, options.seconds), options.seconds * S)
        compare(root, root / "log", root, options.pairs, options.seconds)
        stop_to_done(root, root / "live", options.seconds, 1, (1280, 720))
    if options.hour:
        for repeat in (1, 60):
            with tempfile.TemporaryDirectory() as name:
                make_sources(Path(name), 60, small=True)
                stop_to_done(Path(name), Path(name) / "live", 60, repeat, (320, 180))


if __name__ == "__main__":
    main()
