"""Files that were cut off, at any byte, do not pass as whole."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tcae.data.video import VideoError, read_frames

PICTURES = 12
KINDS = {
    "plain.mkv": ("matroska", "libx264", {}),
    "live.webm": ("webm", "libvpx", {"live": "1"}),  # as browsers record: no length is known
    "fragments.mp4": ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "faststart.mp4": ("mp4", "mpeg4", {"movflags": "faststart"}),
    "plain.ts": ("mpegts", "libx264", {}),
    "mpeg2.ts": ("mpegts", "mpeg2video", {}),
    "plain.mpg": ("mpeg", "mpeg1video", {}),
    "plain.vob": ("vob", "mpeg2video", {}),
    "plain.ivf": ("ivf", "libvpx", {}),
    "disc.m2ts": ("mpegts", "libx264", {"mpegts_m2ts_mode": "1"}),
    "plain.ogv": ("ogg", "libvpx", {}),
    "plain.wmv": ("asf", "wmv2", {}),
    "plain.y4m": ("yuv4mpegpipe", "wrapped_avframe", {}),
    "plain.gif": ("gif", "gif", {}),
    "plain.apng": ("apng", "apng", {}),
    "plain.mjpeg": ("mjpeg", "mjpeg", {}),
    "plain.dv": ("dv", "dvvideo", {}),
}
LAYOUTS = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24"}


def film(path: Path, container: str, codec: str, options: dict[str, str]) -> bytes:
    """Pictures of noise, so that all have many bytes, with sound if there can be some."""
    size = (720, 576) if codec == "dvvideo" else (64, 48)
    with av.open(str(path), "w", format=container, container_options=options) as output:
        stream = output.add_stream(codec, rate=25, options={"g": "6"})
        stream.width, stream.height = size
        stream.pix_fmt = LAYOUTS.get(codec, "yuv420p")
        for i in range(PICTURES):
            noise = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path.read_bytes()


def read(path: Path) -> tuple[int, str | None]:
    """How many frames a file gives, and what is wrong with it."""
    count = 0
    try:
        for _ in read_frames(path, threads=1):
            count += 1
    except VideoError as error:
        return count, str(error)
    return count, None


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_was_cut_off_anywhere_is_not_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole = film(path, *KINDS[name])
    assert read(path) == (PICTURES, None)
    chance = random.Random(1)
    for _ in range(20):
        path.write_bytes(whole[: chance.randrange(len(whole) // 3, len(whole) * 19 // 20)])
        frames, error = read(path)
        assert error is not None and error.startswith(f"{path}: "), frames


@pytest.mark.parametrize("name", KINDS)
def test_what_comes_after_the_end_does_not_matter(tmp_path: Path, name: str) -> None:
    """Zeros, as of a disk that is filled by blocks. Y4M and DV have no end that could be seen."""
    path = tmp_path / name
    whole = film(path, *KINDS[name])
    if path.suffix not in (".y4m", ".dv"):
        path.write_bytes(whole + bytes(1000))
        assert read(path) == (PICTURES, None)


def test_joined_transport_streams_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(film(path, *KINDS["mpeg2.ts"]) * 2)
    assert read(path) == (2 * PICTURES, None)


def test_the_message(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(film(path, *KINDS["plain.mkv"])[:-10])
    assert read(path) == (PICTURES, f"{path}: truncated, the end of the file is missing")
