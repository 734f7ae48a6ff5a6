"""Damaged videos: no crash, no hang, and nothing passes as whole that lacks pictures.

`pytest tests/data/test_video_fuzzing.py --hypothesis-profile=long` reads 100,000 of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

SECONDS = 10
# Reads files in a process of its own, which a decoder may take with it: outcomes as JSON. A second,
# plain loop counts the pictures that are shown. Some memory is enough for all of these.
READER = """
    import json, math, resource, sys
    import av
    from tcae.data.video import VideoError, read_frames

    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))

    def shown(path):
        with av.open(path, metadata_errors="replace") as container:
            count, packets = 0, container.demux(video=0)
            while True:
                try:
                    count += sum(1 for frame in next(packets).decode())
                except StopIteration:
                    return count
                except av.FFmpegError:
                    pass

    for line in sys.stdin:
        path, numbers, times, error = line.strip(), [], [], None
        try:
            for frame in read_frames(path, threads=1, tone_mapped=True):
                numbers.append(frame.index)
                times.append(frame.timestamp)
                assert frame.rgb.ndim == 3 and frame.rgb.size
        except VideoError as failure:
            error = str(failure)
        assert all(a < b for a, b in zip(numbers, numbers[1:])), numbers
        assert all(a < b < math.inf for a, b in zip(times, times[1:])), times
        assert not numbers or numbers[0] >= 0 and times[0] >= 0
        assert error is None or error.startswith(path), error
        expected = len(numbers) if error else shown(path)
        print(json.dumps([error, len(numbers), expected]), flush=True)
"""

KINDS = {
    "plain.mp4": ("mp4", "libx264", {}),
    "fragments.mp4": ("mp4", "mpeg4", {"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": ("mov", "mjpeg", {}),
    "a.mkv": ("matroska", "libx264", {}),
    "a.webm": ("webm", "libvpx", {}),
    "a.avi": ("avi", "mjpeg", {}),
    "b.avi": ("avi", "libx264", {}),
    "a.ts": ("mpegts", "mpeg2video", {}),
    "a.mpg": ("mpeg", "mpeg1video", {}),
    "a.flv": ("flv", "flv1", {}),
    "a.ogv": ("ogg", "libvpx", {}),
    "a.wmv": ("asf", "wmv2", {}),
    "a.mxf": ("mxf", "mpeg2video", {}),
    "a.gif": ("gif", "gif", {}),
    "a.apng": ("apng", "apng", {}),
    "a.y4m": ("yuv4mpegpipe", "wrapped_avframe", {}),
    "a.ivf": ("ivf", "libvpx", {}),
    "a.h264": ("h264", "libx264", {}),
}
STILLS = (
    *("avif.mp4", "bmp.mp4", "jp2.mp4", "jpg.mp4", "pgm.mp4", "png.mp4", "ppm.mp4", "tif.mp4"),
    "webp.mp4",
)
LAYOUTS = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24"}

# What says how pictures are shown, with how many bytes after it tell it: matrices, edit lists, time
# bases, times, tables, pixels.
FIELDS = {
    b"tkhd": 84, b"elst": 30, b"mdhd": 24, b"mvhd": 60, b"stts": 28, b"ctts": 40, b"stsz": 40,
    b"stsc": 24, b"stco": 20, b"pasp": 12, b"stss": 20, b"trun": 40, b"tfhd": 20, b"tfdt": 12,
    b"colr": 12, b"avcC": 30, b"strh": 56, b"strf": 44, b"avih": 60, b"idx1": 60, b"00dc": 8,
    b"vprp": 70, b"\x2a\xd7\xb1": 5, b"\x44\x89": 10, b"\xe7": 4, b"\x54\xb0": 3, b"\x54\xba": 3,
    b"\x23\xe3\x83": 6, b"\xa3": 6, b"\x00\x00\x01\xe0": 20, b"\x00\x00\x01\xb3": 10,
    b"duration": 10, b"framerate": 10, b"width": 10, b"\x21\xf9\x04": 6, b"fcTL": 26, b"IHDR": 13,
    b"ispe": 12, b"iloc": 40, b"ipma": 20, b"av1C": 12, b"pHYs": 9, b"JFIF": 14, b"P6": 12,
    b"DKIF": 32, b"YUV4MPEG2": 50, b"OggS": 24, b"\xff\xc0": 10,
}  # fmt: skip
NUMBERS = [0, 1, 2, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x40000000, 2**31 - 1, 2**31, 2**32 - 1]

changes = st.lists(
    st.tuples(
        st.sampled_from(["field", "field", "field", "bit", "cut", "repeat", "blank"]),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1)),
        st.sampled_from("<>"),
    ),
    min_size=1,
    max_size=4,
)


def changed(content: bytes, what: str, place: float, inside: float, value: int, end: str) -> bytes:
    """A file with one change."""
    data, spot = bytearray(content), int(place * len(content))
    if what == "field":
        names = [name for name in FIELDS if name in content]
        name = names[int(place * len(names))] if names else b""
        spot = content.index(name) + len(name) + int(inside * FIELDS.get(name, 1))
        with contextlib.suppress(struct.error):  # at the end
            struct.pack_into(f"{end}I", data, spot, value)
    elif what == "bit" and data:
        data[spot] ^= 1 << value % 8
    elif what == "cut":
        del data[spot:]
    elif what == "repeat":
        data[spot:spot] = data[spot : spot + value % 4000]
    else:
        data[spot : spot + value % 2000] = bytes(len(data[spot : spot + value % 2000]))
    return bytes(data)


def write(path: Path, container: str, codec: str, options: dict[str, str]) -> bytes:
    with av.open(str(path), "w", format=container, container_options=options) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = LAYOUTS.get(codec, "yuv420p")
        for i in range(8):
            rng = np.random.default_rng(i)
            frame = av.VideoFrame.from_ndarray(
                rng.integers(0, 256, (32, 48, 3), dtype=np.uint8), "rgb24"
            )
            frame.pts, frame.time_base = i, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path.read_bytes()


def write_still(path: Path) -> bytes:
    """A picture that is called a video, of the kind that its name begins with."""
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = rgb[..., 0] if path.stem == "pgm" else rgb
    content = cv2.imencode(f".{path.stem}", picture)[1].tobytes()
    path.write_bytes(content)
    return content


class Reader:
    """The reading process, started again when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115

    def _start(self) -> subprocess.Popen[str]:
        self._errors.truncate(0)
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(READER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,  # a pipe would be full some day
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def read(self, path: Path) -> Any:
        """What became of a file, or how the process failed."""
        self._process = process = self._process or self._start()
        assert process.stdin and process.stdout
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.close()
        if not ready:
            return "hangs"
        self._errors.seek(0)
        return f"exit status {process.returncode}, {self._errors.read().splitlines()[-1:]}"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            if not select.select([self._process.stdout], [], [], 0)[0]:
                self._process.kill()
            self._process.wait()
            self._process = None


class Whole(dict[str, bytes]):
    """Files by name, without their contents in reports."""

    def __repr__(self) -> str:
        return "whole"


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    started = Reader()
    yield started
    started.close()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def whole(folder: Path, reader: Reader) -> dict[str, bytes]:
    """Files of every kind that are read in full."""
    files = Whole({name: write(folder / name, *kind) for name, kind in KINDS.items()})
    for name in files:
        assert reader.read(folder / name) == [None, 8, 8], name
    files.update({name: write_still(folder / name) for name in STILLS})
    for name in STILLS:
        assert reader.read(folder / name)[:2] == [None, 1], name
    return files


@given(name=st.sampled_from(sorted(KINDS)), operations=changes)
def test_damaged_videos(
    folder: Path, reader: Reader, whole: dict[str, bytes], name: str, operations: list[Any]
) -> None:
    error, rows, shown = outcome(folder / name, reader, whole[name], operations)
    assert error or rows >= shown > 0


@given(name=st.sampled_from(STILLS), operations=changes)
def test_damaged_pictures(
    folder: Path, reader: Reader, whole: dict[str, bytes], name: str, operations: list[Any]
) -> None:
    error, rows, _ = outcome(folder / name, reader, whole[name], operations)
    assert error or rows > 0


def outcome(path: Path, reader: Reader, content: bytes, operations: list[Any]) -> Any:
    """What becomes of a file after some changes: error, rows, pictures shown."""
    for operation in operations:
        content = changed(content, *operation)
    path.write_bytes(content)
    read = reader.read(path)
    assert isinstance(read, list), read
    return read


def test_a_process_that_dies_or_hangs_is_noticed(folder: Path, monkeypatch: Any) -> None:
    """And the next file is read by another."""
    module = sys.modules[__name__]
    for line, message in [("os.abort()", "exit status -6"), ("time.sleep(99)", "hangs")]:
        monkeypatch.setattr(module, "SECONDS", 3)
        monkeypatch.setattr(module, "READER", f"import os, sys, time\nfor _ in sys.stdin: {line}")
        reader = Reader()
        assert message in reader.read(folder)
        assert reader._process is None
