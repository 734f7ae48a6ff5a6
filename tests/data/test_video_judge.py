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

from tcae.data.stills import read_still
from tcae.data.video import VideoError, VideoFrame, read_frames

TEST = "testsrc=size=160x120:rate=25:duration=1.2"
GAP = "select='not(between(n,10,15))'"
JITTER = f"{GAP},settb=1/1000,setpts='PTS+mod(7*N,12)'"
BT2020 = "scale=out_color_matrix=bt2020"
SDR = "setparams=color_primaries=bt2020:color_trc=bt2020-10:colorspace=bt2020nc"
VP8_ALPHA = ["-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"]
TRANSPARENT = "format=rgba,colorchannelmixer=aa=0.5"
X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0"]
X264_B = [*X264, "-bf", "2", "-g", "12"]
HOLE = "tpad=stop=900:stop_mode=clone,select='lt(n,20)+gt(n,900)'"  # of 35 seconds


class Kind(NamedTuple):
    """A kind of file: how it is made from a test pattern, and what is special."""

    name: str
    words: list[str]
    filters: str = "null"
    sound: bool = False
    counted: bool = False  # no slots: pictures come at any time


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
    Kind("ten_bits.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"]),
    Kind("bt2020.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv420p10le"], f"{BT2020},{SDR}"),
    Kind(
        "transparent.webm",
        ["-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"],
        TRANSPARENT,
    ),
    Kind("odd.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv420p"], "scale=161:121"),
    Kind("interlaced.ts", [*X264, "-x264-params", "interlaced=1"]),
    Kind("interlaced.mpg", ["-c:v", "mpeg2video", "-flags", "+ildct+ilme"]),
    Kind("telecine.mpg", ["-c:v", "mpeg2video"], "telecine"),
    Kind("rate_2997.mkv", X264_B, "fps=30000/1001"),
    Kind("gap.avi", ["-c:v", "mjpeg"], GAP),
    Kind("gap_reordered.avi", X264_B, GAP),
    Kind("gap.mp4", X264_B, GAP, sound=True),
    Kind("gap.mkv", X264_B, GAP, sound=True),
    Kind("gap.ts", X264_B, GAP),
    Kind("gap.webm", ["-c:v", "libvpx-vp9", "-cpu-used", "8"], GAP),
    Kind("hole.mp4", X264, HOLE),
    Kind("hole.mkv", X264, HOLE),
    Kind("hole.ts", X264, HOLE),
    Kind("hole.avi", ["-c:v", "mjpeg"], HOLE),
    Kind("any_time.mp4", [*X264, "-enc_time_base", "1:1000"], JITTER, counted=True),
    Kind("any_time.mkv", [*X264, "-enc_time_base", "1:1000"], JITTER, counted=True),
    Kind("wide.mp4", X264, "setsar=64/45"),
    Kind("narrow.mkv", X264, "setsar=8/9"),
    Kind("narrow.avi", ["-c:v", "mpeg4"], "setsar=8/9"),
    Kind("a.dv", ["-c:v", "dvvideo", "-pix_fmt", "yuv420p"], "scale=720:576"),
    Kind("a.mxf", ["-c:v", "mpeg2video"]),
    Kind("a.y4m", ["-pix_fmt", "yuv420p"]),
    Kind("a.gif", []),
    Kind("a.apng", []),
    Kind("parts.gif", ["-gifflags", "+offsetting+transdiff"], "format=rgba,colorkey=black:0.3"),
    Kind("parts.apng", [], "format=rgba,colorkey=black:0.3"),
    Kind("a.ivf", ["-c:v", "libvpx"]),
    Kind("a.h264", [*X264_B, "-f", "h264"], counted=True),
    Kind("a.mjpeg", ["-c:v", "mjpeg"], counted=True),
]
SMOOTH = ["-f", "lavfi", "-i", "gradients=s=160x120:d=1:c0=red:c1=blue:c2=white:n=3"]
STILLS = ["jpg", "png", "bmp", "tif", "jp2", "webp", "ppm", "pgm", "avif"]


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


def check(frames: list[VideoFrame], pictures: np.ndarray) -> None:
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame.rgb.shape == picture.shape
        assert np.array_equal(frame.rgb, picture), frame.index


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_same_pictures_in_the_same_slots(
    make: Callable[[Kind], Path],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    kind: Kind,
) -> None:
    path = make(kind)
    pictures, slots = judge(path)
    frames = list(read_frames(path, threads=1))
    check(frames, pictures)
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
    stored = make(Kind("stored.mp4", X264, f"setsar={sar}"))
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", turn, *flips, "-i", stored, "-c", "copy", path)
    pictures, _ = judge(path)
    check(list(read_frames(path)), pictures)


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
    path = tmp_path / f"a.{ending}"
    ffmpeg(*SMOOTH, "-frames:v", 1, "-q:v", 2, "-update", 1, path)
    check_still(path, judge)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_pictures_of_a_wide_video(
    ffmpeg: Callable[..., bytes],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    tmp_path: Path,
    ending: str,
) -> None:
    """As `ffmpeg -i x %05d.jpg` extracts them."""
    path = tmp_path / f"a.{ending}"
    ffmpeg(*SMOOTH, "-vf", "setsar=64/45", "-frames:v", 1, "-q:v", 2, "-update", 1, path)
    assert check_still(path, judge).shape == (120, 227, 3)


@pytest.mark.parametrize("number", range(1, 9))
def test_turned_avif(
    ffmpeg: Callable[..., bytes],
    judge: Callable[[Path], tuple[np.ndarray, list[int]]],
    tmp_path: Path,
    number: int,
) -> None:
    """Pillow writes what AVIF has instead of EXIF's orientation."""
    images = pytest.importorskip("PIL.Image")
    ffmpeg(*SMOOTH, "-frames:v", 1, "-update", 1, tmp_path / "a.png")
    exif = images.Exif()
    exif[274] = number
    images.open(tmp_path / "a.png").save(tmp_path / "a.avif", exif=exif)
    shape = check_still(tmp_path / "a.avif", judge).shape
    assert shape == ((160, 120, 3) if number > 4 else (120, 160, 3))


def check_still(path: Path, judge: Callable[[Path], tuple[np.ndarray, list[int]]]) -> np.ndarray:
    """Both readers of pictures: of folders, and of files that are called videos."""
    video = path.with_name("b.mp4")
    video.write_bytes(path.read_bytes())
    (picture,), _ = judge(path)
    in_folder = read_still(path.read_bytes())
    (frame,) = read_frames(video)
    assert frame.rgb.shape == picture.shape
    assert np.array_equal(frame.rgb, in_folder)
    # OpenCV and FFmpeg scale the colours of subsampled pictures in different ways.
    assert np.abs(in_folder.astype(int) - picture).mean() < 2
    return in_folder
