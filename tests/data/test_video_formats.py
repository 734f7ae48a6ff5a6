"""Files without an index, or with another ending than what they hold."""

from __future__ import annotations

import shutil
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tcae.data.pictures import decode_image
from tcae.data.sources import find_sources
from tcae.data.video import VideoError, VideoFrame, read_frames

SIZES = {"dv": (720, 576)}


def scene(i: int, size: tuple[int, int]) -> np.ndarray:
    """A smooth picture that says which one it is."""
    y, x = np.mgrid[: size[1], : size[0]]
    return np.stack([60 + 5 * i + 0 * x, 60 + 90 * x / size[0], 60 + 90 * y / size[1]], -1)


def film(path: Path, container: str, codec: str, layout: str, frames: int = 12) -> Path:
    size = SIZES.get(container, (64, 48))
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, layout
        stream.bit_rate = 4_000_000
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(scene(i, size).astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def check(frames: list[VideoFrame], count: int, size: tuple[int, int]) -> None:
    assert [frame.index for frame in frames] == list(range(count))
    assert np.allclose([frame.timestamp for frame in frames], np.arange(count) / 25, atol=1e-3)
    for i, frame in enumerate(frames):
        shown = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
        assert np.abs(shown - scene(i, size)).mean() < 4


@pytest.mark.parametrize("ending", ["right", "mp4"])
@pytest.mark.parametrize(
    ("container", "codec", "layout"),
    [
        ("dv", "dvvideo", "yuv420p"),
        ("mxf", "mpeg2video", "yuv420p"),
        ("yuv4mpegpipe", "wrapped_avframe", "yuv420p"),
        ("gif", "gif", "rgb8"),
        ("apng", "apng", "rgb24"),
        ("ivf", "libvpx-vp9", "yuv420p"),
        ("mjpeg", "mjpeg", "yuvj420p"),
        ("h264", "libx264", "yuv420p"),
    ],
)
def test_a_video_is_read_whatever_its_ending(
    tmp_path: Path, container: str, codec: str, layout: str, ending: str
) -> None:
    name = {"yuv4mpegpipe": "y4m"}.get(container, container) if ending == "right" else ending
    path = film(tmp_path / f"a.{name}", container, codec, layout)
    (source,) = find_sources(tmp_path)
    frames = list(source.read(None))
    if container == "gif":  # 256 colours
        assert [frame.index for frame in frames] == list(range(12))
    else:
        check(frames, 12, SIZES.get(container, (64, 48)))
    assert len(list(read_frames(path, 5))) == 3


STILLS = ["jpg", "png", "bmp", "tiff", "jp2", "webp"]


@pytest.mark.parametrize("ending", STILLS)
def test_a_picture_that_is_called_a_video_is_one_frame(tmp_path: Path, ending: str) -> None:
    bgr = scene(0, (64, 48)).astype(np.uint8)[..., ::-1]
    content = cv2.imencode(f".{ending}", bgr)[1].tobytes()
    (tmp_path / "a.mp4").write_bytes(content)
    frames = list(read_frames(tmp_path / "a.mp4"))
    check(frames, 1, (64, 48))
    assert np.array_equal(frames[0].rgb, decode_image(content))


def with_orientation(jpeg: bytes, number: int) -> bytes:
    """A JPEG picture that says how it is to be turned (Exif 2.3, tag 274)."""
    entry = struct.pack("<HHIHH", 274, 3, 1, number, 0)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


@pytest.mark.parametrize("number", range(1, 9))
def test_pictures_are_turned_as_their_exif_data_say(tmp_path: Path, number: int) -> None:
    picture = scene(0, (64, 48)).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    (tmp_path / "a.mp4").write_bytes(with_orientation(jpeg, number))
    upright = [
        *(picture, picture[:, ::-1], picture[::-1, ::-1], picture[::-1]),
        *(picture.swapaxes(0, 1), np.rot90(picture, -1)),
        *(picture[::-1, ::-1].swapaxes(0, 1), np.rot90(picture)),
    ][number - 1]
    (frame,) = read_frames(tmp_path / "a.mp4")
    assert frame.rgb.shape == upright.shape
    assert np.abs(frame.rgb.astype(int) - upright).mean() < 3


def test_an_avif_sequence_is_more_than_its_first_picture(tmp_path: Path) -> None:
    animation = cv2.Animation()
    animation.frames = [scene(i, (64, 48)).astype(np.uint8)[..., ::-1].copy() for i in range(5)]
    animation.durations = [40] * 5
    try:
        assert cv2.imwriteanimation(str(tmp_path / "a.avif"), animation)
    except cv2.error:
        pytest.skip("this OpenCV cannot write AVIF")
    shutil.copy(tmp_path / "a.avif", tmp_path / "b.mp4")
    frames = list(read_frames(tmp_path / "b.mp4"))
    check(frames, 5, (64, 48))


def test_an_animated_webp_is_refused(tmp_path: Path) -> None:
    """FFmpeg reads it from 9.0 on, PyAV brings an older one."""
    animation = cv2.Animation()
    animation.frames = [np.full((16, 24, 3), 40 * i, np.uint8) for i in range(3)]
    animation.durations = [100] * 3
    assert cv2.imwriteanimation(str(tmp_path / "a.webp"), animation)
    shutil.copy(tmp_path / "a.webp", tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: is an animation, not a picture"):
        list(read_frames(tmp_path / "a.mp4"))


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [("a.265", "h264", "libx264"), ("a.M2T", "mpegts", "mpeg2video"), ("a.mj2", "mov", "jpeg2000")],
)
def test_rarer_endings(tmp_path: Path, name: str, container: str, codec: str) -> None:
    film(tmp_path / name, container, codec, "yuv420p")
    (source,) = find_sources(tmp_path)
    check(list(source.read(None)), 12, (64, 48))


def test_a_format_that_is_not_read_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "NONE"))
        sound.writeframes(bytes(16000))
    with pytest.raises(VideoError, match=r"cannot be opened as a video \(of no format that is"):
        next(read_frames(path))


def test_pictures_in_other_formats_are_no_gaps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside JPEGs. What cannot be read is told."""
    folder = tmp_path / "ann" / "talk"
    folder.mkdir(parents=True)
    for i, ending in enumerate(["jpg", "tif", "png", "tiff", "jp2", "bmp", "webp", "ppm", "JPE"]):
        bgr = scene(i, (64, 48)).astype(np.uint8)[..., ::-1]
        (folder / f"{i}.{ending}").write_bytes(cv2.imencode(f".{ending.lower()}", bgr)[1])
    film(folder / "moving.gif", "gif", "gif", "rgb8")
    (folder / "9.heic").write_bytes(b"x")
    (folder / "raw.DNG").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    pictures, gif = find_sources(tmp_path)
    assert (pictures.is_file, gif.is_file) == (False, True)
    frames = list(pictures.read(None))
    assert [frame.index for frame in frames] == list(range(9))
    for i, frame in enumerate(frames):
        assert np.abs(frame.rgb - scene(i, (64, 48))).mean() < 4
    assert len(list(gif.read(None))) == 12
    assert caplog.messages == [
        f"{tmp_path}: 2 pictures or videos of kinds that are not read, as {folder}/9.heic, are "
        "skipped"
    ]
