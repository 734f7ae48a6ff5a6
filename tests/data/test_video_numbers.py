"""Numbers of frames, and whether a file is whole: by its packets and times, not by its header."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tcae.data.video import VideoError, read_frames
from tcae.data.video_survey import survey

KEPT = [*range(10), *range(16, 30)]  # as `select='not(between(n,10,15))'` of FFmpeg keeps them


def level(i: int) -> int:
    return 20 + 7 * i


def write(
    path: Path,
    codec: str,
    ticks: Sequence[int],
    base: Fraction = Fraction(1, 25),
    **options: str,
) -> Path:
    """A video of 25 frames a second with pictures at these times; each tells its time's slot."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.time_base = 96, 72, base
        stream.codec_context.time_base = base
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        for tick in ticks:
            shade = level(round(tick * base * 25))
            rng = np.random.default_rng(tick)  # so that packets have some size
            picture = np.clip(rng.normal(shade, 9, (72, 96, 3)), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = tick, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def told(frames: Sequence[object]) -> list[int]:
    """The slots that the pictures themselves tell."""
    return [round((frame.rgb.mean() - 20) / 7) for frame in frames]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.avi", "mjpeg", {}),
        ("a.avi", "libx264", {"bf": "2"}),
        ("a.avi", "mpeg4", {}),
        ("a.mp4", "libx264", {"bf": "2"}),
        ("a.mkv", "libx264", {"bf": "2"}),
        ("a.webm", "libvpx-vp9", {"cpu-used": "8"}),
        ("a.ts", "mpeg2video", {}),
        ("a.flv", "flv1", {}),
    ],
)
def test_a_gap_is_a_gap(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    codec: str,
    options: dict[str, str],
) -> None:
    path = write(tmp_path / name, codec, KEPT, **options)
    frames = list(read_frames(path))  # and not: truncated
    assert [frame.index for frame in frames] == KEPT == told(frames)
    assert np.allclose([frame.timestamp for frame in frames], np.array(KEPT) / 25, atol=2e-3)
    assert caplog.messages == [
        f"{path}: 24 pictures in 30 frames of 25 a second; numbers count frames, so that they have "
        "gaps"
    ]
    assert [frame.index for frame in read_frames(path, 5)] == [0, 5, 16, 20, 25]


@pytest.mark.parametrize("lost", [0, 1, 10, 29])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_picture_that_is_lost_leaves_a_gap(tmp_path: Path, lost: int, threads: int) -> None:
    path = write(tmp_path / "a.avi", "mjpeg", range(30))
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    start = places[lost] + 8
    content[start : start + 700] = bytes(700)
    path.write_bytes(content)
    frames = []
    with pytest.raises(VideoError, match="damaged, 1 packets could not be decoded"):
        for frame in read_frames(path, threads=threads):
            frames.append(frame)
    assert [f.index for f in frames] == told(frames) == [i for i in range(30) if i != lost]


def test_pictures_that_are_not_even_found_leave_a_gap(tmp_path: Path) -> None:
    """The end of one is overwritten, and the head of the next: only the index has that one."""
    path = write(tmp_path / "a.avi", "mjpeg", range(30))
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for lost in (11, 20):
        content[places[lost] - 58 : places[lost] + 642] = bytes(700)
    path.write_bytes(content)
    frames = []
    with pytest.raises(VideoError, match=r"damaged, 2 pictures that its index has cannot be found"):
        for frame in read_frames(path):
            frames.append(frame)
    # What the ends look like that were overwritten does not matter.
    assert [f.index for f in frames] == [i for i in range(30) if i not in (11, 20)]
    sound = [frame for frame in frames if frame.index not in (10, 19)]
    assert told(sound) == [frame.index for frame in sound]
    assert np.allclose([f.timestamp for f in frames], [f.index / 25 for f in frames])


JITTER = Fraction(1, 1000)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_pictures_that_come_at_any_time_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    """As from a phone: times are no multiples of anything."""
    late = [0, 6, 1, 11, 3, 8, 15, 2]
    ticks = [40 * slot + late[k % 8] for k, slot in enumerate(KEPT)]
    frames = list(read_frames(write(tmp_path / f"a.{ending}", "mpeg4", ticks, JITTER)))
    assert [frame.index for frame in frames] == list(range(24))
    assert np.allclose([frame.timestamp for frame in frames], np.array(ticks) / 1000, atol=1e-3)
    assert not caplog.messages


def test_steps_that_are_mostly_two_slots_are_none(tmp_path: Path) -> None:
    """As of 30 frames a second of which two came early: FFmpeg takes it for one of 60."""
    places = np.cumsum([0, *[2] * 9, 1, *[2] * 9, 1, *[2] * 9])
    path = write(tmp_path / "a.mp4", "mpeg4", places.tolist(), Fraction(1, 60))
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(30))
    assert np.allclose([frame.timestamp for frame in frames], places / 60, atol=1e-3)


@pytest.mark.parametrize("lost", [1, 10])
def test_lost_pictures_count_too(tmp_path: Path, lost: int) -> None:
    ticks = [40 * i + 3 * (i % 4) for i in range(30)]
    path = write(tmp_path / "a.mov", "mjpeg", ticks, JITTER)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    content[places[lost] : places[lost] + 700] = bytes(700)
    path.write_bytes(content)
    frames = []
    with pytest.raises(VideoError, match="damaged, 1 packets could not be decoded"):
        for frame in read_frames(path, threads=1):
            frames.append(frame)
    assert [f.index for f in frames] == [i for i in range(30) if i != lost] == told(frames)


def test_milliseconds_are_slots_too(tmp_path: Path) -> None:
    """29.97 frames a second, rounded as Matroska does."""
    ticks = [round(slot * 1001 / 30) for slot in KEPT]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(30000, 1001))
        stream.width, stream.height = 64, 48
        stream.codec_context.time_base = Fraction(1, 1000)
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert [frame.index for frame in read_frames(tmp_path / "a.mkv")] == KEPT


def copied_from(path: Path, start: float, out: Path) -> Path:
    """The packets from the key frame before a time on, as `ffmpeg -ss START -c copy` copies them.

    Pictures before the time stay in the file, and an edit list says that they are not shown.
    """
    with (
        av.open(str(path)) as source,
        av.open(str(out), "w", container_options={"avoid_negative_ts": "disabled"}) as copy,
    ):
        stream = source.streams.video[0]
        target = copy.add_stream_from_template(stream)
        source.seek(int(start / stream.time_base), stream=stream)
        shift = int(start / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = target
                copy.mux(packet)
    return out


def test_pictures_that_an_edit_list_hides_are_not_missed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", "libx264", range(30), g="12", bf="0", sc_threshold="0")
    path = copied_from(whole, 0.8, tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 18  # what its table has
        found = survey(container, container.streams.video[0])
        assert (found.pictures, found.slots) == (10, 10)
    frames = list(read_frames(path))
    assert told(frames) == list(range(20, 30))
    assert [frame.index for frame in frames] == list(range(10))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.flv", "flv1"), ("a.mp4", "libx264")],
)
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_a_file_that_was_cut_off_is_truncated(
    tmp_path: Path, name: str, codec: str, share: float
) -> None:
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    with av.open(str(tmp_path / name), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        rng = np.random.default_rng(0)
        for _ in range(100):
            noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        container.mux(stream.encode())
    content = (tmp_path / name).read_bytes()
    assert len(list(read_frames(tmp_path / name))) == 100
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    frames = []
    with pytest.raises(VideoError, match=r": (truncated|damaged), "):
        for frame in read_frames(tmp_path / name):
            frames.append(frame.index)
    assert frames == list(range(len(frames)))
    assert (share - 0.5) * 100 < len(frames) < 100


def with_sound(path: Path, codec: str, seconds: float, frames: int) -> Path:
    """Sound of that length, and that many black pictures."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp2" if path.suffix != ".flv" else "libmp3lame", rate=44100)
        video = container.add_stream(codec, rate=25)
        video.width, video.height = 64, 48
        if codec == "mjpeg":
            video.pix_fmt = "yuvj420p"
        for i in range(frames):
            black = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            black.pts, black.time_base = i, Fraction(1, 25)
            container.mux(video.encode(black))
        container.mux(video.encode())
        silence = np.zeros((1, int(44100 * seconds) * 2), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, "s16", "stereo")
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv"])
def test_sound_may_be_longer(tmp_path: Path, name: str) -> None:
    path = with_sound(tmp_path / name, "flv1" if name == "a.flv" else "mpeg4", 4, 25)
    assert len(list(read_frames(path))) == 25


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_a_cover_that_nothing_marks(tmp_path: Path, codec: str, frames: int) -> None:
    """One JPEG beside sound. Other codecs, and more pictures, are a video."""
    path = with_sound(tmp_path / "a.mkv", codec, 3, frames)
    if frames == 1 and codec != "mpeg4":
        with pytest.raises(VideoError, match="has no video stream, only a cover picture"):
            next(read_frames(path))
    else:
        assert len(list(read_frames(path))) == frames


def test_a_header_that_tells_more_frames_than_there_are(
    write_video: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_video(tmp_path / "a.avi", frames=30, fps=10)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"strh") + 8 + 32, 60)  # AVISTREAMHEADER.dwLength
    path.write_bytes(content)
    with pytest.raises(VideoError, match="truncated, has 3 of 6 seconds"):
        list(read_frames(path))
