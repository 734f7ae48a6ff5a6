"""What is read is what FFmpeg's own command shows: the pictures, their order and their slots.

The command also makes the files. It comes with the wheel `imageio-ffmpeg`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tcae.data.pictures import decode_image
from tcae.data.video import VideoError, VideoFrame, read_frames

TEST = "testsrc=size=160x120:rate=25:duration=1.2"
GAP = "select='not(between(n,10,15))'"
JITTER = f"{GAP},settb=1/1000,setpts='PTS+mod(7*N,12)'"
X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0"]
X264_B = [*X264, "-bf", "2", "-g", "12"]
# Of colours stored at half the size FFmpeg 9 takes other pixels than before when it resizes.
OTHER_CHROMA = 0.0


class Kind(NamedTuple):
    """A kind of file: how it is made from a test pattern, and what is special."""

    name: str
    words: list[str]
    filters: str = "null"
    sound: bool = False
    counted: bool = False  # no slots: pictures come at any time
    close: float = 0.0  # mean difference of grey levels that is allowed


KINDS = [
    Kind("plain.mp4", X264_B, sound=True),
    Kind("plain.mkv", X264_B, sound=True),
    Kind("plain.ts", X264_B, sound=True),
    Kind("plain.webm", ["-c:v", "libvpx"]),
    Kind("plain.mpg", ["-c:v", "mpeg2video", "-bf", "2"]),
    Kind("plain.ogv", ["-c:v", "libtheora"]),
    Kind("plain.wmv", ["-c:v", "wmv2"]),
    Kind("plain.flv", ["-c:v", "flv"]),
    Kind("fragments.mp4", [*X264_B, "-movflags", "frag_keyframe+empty_moov"]),
    Kind("hevc.mp4", ["-c:v", "libx265", "-x265-params", "log-level=none"]),
    Kind("vp9.webm", ["-c:v", "libvpx-vp9", "-cpu-used", "8"]),
    Kind("av1.mp4", ["-c:v", "libaom-av1", "-cpu-used", "8"]),
    Kind("ten_bits.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv422p10le"]),
    Kind("full_range.mp4", [*X264, "-pix_fmt", "yuvj420p"]),
    Kind("bt709.mp4", [*X264, "-colorspace", "bt709"], "scale=out_color_matrix=bt709"),
    Kind("reordered.avi", X264_B),
    Kind("mpeg4.avi", ["-c:v", "mpeg4", "-bf", "2"]),
    Kind("mjpeg.avi", ["-c:v", "mjpeg"]),
    Kind("interlaced.ts", ["-c:v", "libx264", "-x264-params", "interlaced=1"]),
    Kind("telecine.mpg", ["-c:v", "mpeg2video"], "telecine"),
    Kind("rate_2997.mkv", X264_B, "fps=30000/1001"),
    Kind("gap.avi", ["-c:v", "mjpeg"], GAP),
    Kind("gap_reordered.avi", X264_B, GAP),
    Kind("gap.mp4", X264_B, GAP, sound=True),
    Kind("gap.mkv", X264_B, GAP, sound=True),
    Kind("gap.ts", X264_B, GAP),
    Kind("gap.webm", ["-c:v", "libvpx-vp9", "-cpu-used", "8"], GAP),
    Kind("any_time.mp4", [*X264, "-enc_time_base", "1:1000"], JITTER, counted=True),
    Kind("any_time.mkv", [*X264, "-enc_time_base", "1:1000"], JITTER, counted=True),
    Kind("wide.mp4", [*X264, "-pix_fmt", "yuv444p"], "setsar=64/45"),
    Kind("narrow.mkv", [*X264, "-pix_fmt", "yuv444p"], "setsar=8/9"),
    Kind("narrow.avi", ["-c:v", "mpeg4"], "setsar=8/9", close=OTHER_CHROMA),
    Kind("a.dv", ["-c:v", "dvvideo", "-pix_fmt", "yuv420p"], "scale=720:576", close=OTHER_CHROMA),
    Kind("a.mxf", ["-c:v", "mpeg2video"]),
    Kind("a.y4m", ["-pix_fmt", "yuv420p"]),
    Kind("a.gif", []),
    Kind("a.apng", []),
    Kind("a.ivf", ["-c:v", "libvpx"]),
    Kind("a.h264", [*X264_B, "-f", "h264"], counted=True),
    Kind("a.mjpeg", ["-c:v", "mjpeg"], counted=True),
]
STILLS = ["jpg", "png", "bmp", "tif", "jp2", "webp", "ppm"]


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., bytes]:
    """Function that runs the command and returns what it writes."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()

    def run(*words: object, check: bool = True) -> bytes:
        command = [program, "-v", "error", "-y", "-threads", "1", *map(str, words)]
        done = subprocess.run(command, capture_output=True, timeout=120)
        if check and done.returncode:
            pytest.fail(done.stderr.decode(errors="replace"))
        return done.stdout

    return run


@pytest.fixture
def make(ffmpeg: Callable[..., bytes], tmp_path: Path) -> Callable[[Kind], Path]:
    """Function that makes a file of a kind."""

    def made(kind: Kind) -> Path:
        path = tmp_path / kind.name
        sound = ["-f", "lavfi", "-i", "sine=duration=1.2"] if kind.sound else []
        filters = ["-vf", kind.filters, "-fps_mode", "vfr"]
        ffmpeg("-f", "lavfi", "-i", TEST, *sound, *filters, *kind.words, path)
        return path

    return made


@pytest.fixture
def judge(ffmpeg: Callable[..., bytes]) -> Callable[[Path], tuple[np.ndarray, list[int]]]:
    """Function that returns the pictures (n, H, W, 3) that the command shows, and their slots."""

    def judged(path: Path) -> tuple[np.ndarray, list[int]]:
        # Pixels are made square as players do: the height stays.
        square = ["-vf", "scale='trunc(iw*sar)':ih,format=rgb24", "-an", "-sn"]
        hashes = ffmpeg("-i", path, "-an", "-sn", "-f", "framemd5", "-", check=False).decode()
        rows = [line.split(",") for line in hashes.splitlines() if not line.startswith("#")]
        slots = [int(row[2]) - int(rows[0][2]) for row in rows]
        one = ffmpeg("-i", path, *square, "-frames:v", 1, "-f", "image2pipe", "-c:v", "ppm", "-")
        width, height = map(int, one.split(maxsplit=3)[1:3])
        every = ["-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
        raw = np.frombuffer(ffmpeg("-i", path, *square, *every, check=False), np.uint8)
        return raw.reshape(-1, height, width, 3), slots

    return judged


def check(frames: list[VideoFrame], pictures: np.ndarray, close: float = 0.0) -> None:
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame.rgb.shape == picture.shape
        assert np.abs(frame.rgb.astype(int) - picture).mean() <= close, frame.index


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_same_pictures_in_the_same_slots(
    make: Callable[[Kind], Path],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    kind: Kind,
) -> None:
    path = make(kind)
    pictures, slots = judge(path)
    frames = list(read_frames(path, threads=1))
    check(frames, pictures, kind.close)
    expected = list(range(len(pictures))) if kind.counted else slots
    assert [frame.index for frame in frames] == expected
    assert len(frames) >= 24


@pytest.mark.parametrize("flips", [[], ["-display_hflip"], ["-display_vflip"]])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("sar", ["1", "64/45"])
def test_orientations(
    make: Callable[[Kind], Path],
    ffmpeg: Callable[..., bytes],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    tmp_path: Path,
    turn: int,
    flips: list[str],
    sar: str,
) -> None:
    stored = make(Kind("stored.mp4", [*X264, "-pix_fmt", "yuv444p"], f"setsar={sar}"))
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", turn, *flips, "-i", stored, "-c", "copy", path)
    pictures, _ = judge(path)
    check(list(read_frames(path)), pictures, 0.0 if sar == "1" else 1.5)


@pytest.mark.parametrize("start", [0.3, 0.5, 0.9])
def test_what_an_edit_list_hides(
    make: Callable[[Kind], Path],
    ffmpeg: Callable[..., bytes],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    tmp_path: Path,
    start: float,
) -> None:
    whole = make(Kind("whole.mp4", X264_B, sound=True))
    ffmpeg("-ss", start, "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
    pictures, slots = judge(tmp_path / "cut.mp4")
    frames = list(read_frames(tmp_path / "cut.mp4"))
    check(frames, pictures)
    assert [frame.index for frame in frames] == slots


@pytest.mark.parametrize("name", ["plain.mp4", "plain.mkv", "plain.webm", "plain.flv", "mpeg4.avi"])
def test_a_cut_off_file_has_no_others(
    make: Callable[[Kind], Path],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    name: str,
) -> None:
    """The command may show one more: the last one, of which a part is missing."""
    (kind,) = (kind for kind in KINDS if kind.name == name)
    if name == "plain.mp4":
        kind = kind._replace(words=[*kind.words, "-movflags", "faststart"])
    path = make(kind)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    pictures, slots = judge(path)
    frames = []
    with pytest.raises(VideoError, match=r": (truncated|damaged), "):
        for frame in read_frames(path, threads=1):
            frames.append(frame)
    assert len(pictures) - 1 <= len(frames) <= len(pictures)
    check(frames, pictures[: len(frames)])
    assert [frame.index for frame in frames] == slots[: len(frames)]


def test_a_lost_picture(
    make: Callable[[Kind], Path], judge: Callable[[Path], tuple[np.ndarray, list[int]]]
) -> None:
    path = make(Kind("a.avi", ["-c:v", "mjpeg"]))
    content = bytearray(path.read_bytes())
    movie = content.index(b"movi")
    start = [found.end() for found in re.finditer(b"00dc", content[movie:])][7] + movie
    content[start + 12 : start + 712] = bytes(700)
    path.write_bytes(content)
    pictures, slots = judge(path)
    assert slots == [*range(7), *range(8, 30)]
    frames = []
    with pytest.raises(VideoError, match="damaged, 1 packets"):
        for frame in read_frames(path):
            frames.append(frame)
    check(frames, pictures)
    assert [frame.index for frame in frames] == slots


def test_joined_files(
    make: Callable[[Kind], Path], judge: Callable[[Path], tuple[np.ndarray, list[int]]]
) -> None:
    path = make(Kind("a.ts", ["-c:v", "mpeg2video"]))
    path.write_bytes(path.read_bytes() * 2)
    pictures, _ = judge(path)
    frames = list(read_frames(path))
    check(frames, pictures)
    assert [frame.index for frame in frames] == list(range(60))


@pytest.mark.parametrize("ending", STILLS)
def test_pictures(
    ffmpeg: Callable[..., bytes],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    tmp_path: Path,
    ending: str,
) -> None:
    """Both readers of pictures: of folders, and of files that are called videos."""
    path, video = tmp_path / f"a.{ending}", tmp_path / "b.mp4"
    smooth = ["-f", "lavfi", "-i", "gradients=s=160x120:d=1:c0=red:c1=blue:c2=white:n=3"]
    ffmpeg(*smooth, "-frames:v", 1, "-q:v", 2, "-update", 1, path)
    video.write_bytes(path.read_bytes())
    (picture,), _ = judge(path)
    in_folder = decode_image(path.read_bytes())
    assert in_folder is not None
    (frame,) = read_frames(video)
    assert np.array_equal(frame.rgb, in_folder)
    # OpenCV and FFmpeg scale the colours of subsampled pictures in different ways.
    assert np.abs(in_folder.astype(int) - picture).mean() < 2
