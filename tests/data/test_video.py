from __future__ import annotations

import os
import re
import socket
import struct
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from tcae.data.video import VideoError, estimated_frames, read_frames


def test_all_frames_in_order(write_video, tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=9, fps=3, size=(80, 48))
    frames = list(read_frames(path))
    assert [f.index for f in frames] == list(range(9))
    assert np.allclose([f.timestamp for f in frames], np.arange(9) / 3, atol=1e-3)
    assert {f.rgb.shape for f in frames} == {(48, 80, 3)}
    assert frames[0].rgb.dtype == np.uint8


@pytest.mark.parametrize(
    ("rate", "fps", "expected"),
    [
        (10, 1, [0, 10, 20]),
        (10, 2, [0, 5, 10, 15, 20]),
        (10, 3, [0, 4, 7, 10, 14, 17, 20, 24]),  # the first at or after 0, 1/3, 2/3 ...
        (10, 10, list(range(25))),
        (10, 50, list(range(25))),
        (30, 0.1, [0]),
    ],
)
def test_sampling(write_video, tmp_path, rate, fps, expected):
    path = write_video(tmp_path / "a.mp4", frames=25, fps=rate)
    sampled = list(read_frames(path, fps))
    assert [f.index for f in sampled] == expected
    every = list(read_frames(path))
    for frame in sampled:
        assert np.array_equal(frame.rgb, every[frame.index].rgb)
        assert frame.timestamp == every[frame.index].timestamp


def test_time_starts_at_the_first_frame(tmp_path):
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for i in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 * i, np.uint8), "rgb24")
            frame.pts = 70 + i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    times = [f.timestamp for f in read_frames(tmp_path / "late.mkv")]
    assert np.allclose(times, [0, 0.1, 0.2, 0.3], atol=2e-3)


def ramp(path, codec="mpeg4", frames=10, pts=lambda i: i, **options):
    """A video of 10 frames a second that grow brighter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height = 64, 48
        for i in range(frames):
            grey = np.full((48, 64, 3), 20 + 20 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = pts(i), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_time_goes_on_where_files_were_joined(tmp_path, caplog):
    path = ramp(tmp_path / "a.ts", "mpeg2video")
    path.write_bytes(path.read_bytes() * 2)
    frames = list(read_frames(path))
    assert np.allclose([frame.timestamp for frame in frames], np.arange(20) / 10)
    assert len(caplog.messages) == 1
    assert "some frames have no time, an earlier one" in caplog.text
    assert [frame.index for frame in read_frames(path, 5)] == list(range(0, 20, 2))


@pytest.mark.parametrize(("ending", "hours"), [("mkv", 40), ("mp4", 40), ("ts", 1)])
def test_time_goes_on_after_a_leap_that_cannot_be(tmp_path, caplog, ending, hours):
    """Where FFmpeg's command sees an error: transport streams may begin anew at any time."""
    path = ramp(tmp_path / f"a.{ending}", pts=lambda i: i + 36_000 * hours * (i > 4))
    frames = list(read_frames(path))
    assert np.allclose([frame.timestamp for frame in frames], np.arange(10) / 10, atol=1e-3)
    assert [frame.index for frame in frames] == list(range(10))
    assert len(caplog.messages) == 1 and "one much later" in caplog.text
    hour = ramp(tmp_path / "b.mkv", pts=lambda i: i + 36_000 * (i > 4))
    assert [frame.index for frame in read_frames(hour)][5:] == list(range(36_005, 36_010))


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_that_avi_stores_in_another_order(tmp_path, caplog, codec, threads):
    path = ramp(tmp_path / "a.avi", codec, bf="2")
    frames = list(read_frames(path, threads=threads))
    levels = [frame.rgb.mean() for frame in frames]
    assert np.allclose(levels, 20 + 20 * np.arange(10), atol=8)
    assert np.allclose([frame.timestamp for frame in frames], np.arange(10) / 10)
    assert [frame.index for frame in read_frames(path, 5)] == [0, 2, 4, 6, 8]
    assert not caplog.messages


def test_frames_without_a_time_follow_at_the_frame_rate(tmp_path, caplog):
    path = ramp(tmp_path / "a.ts", "libx264", bf="2")
    content = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(rb"\x00\x00\x01[\xe0-\xef]", content)]
    for start in starts[1:]:
        content[start + 7] &= 0x3F  # ISO 13818-1, 2.4.3.7: this packet tells no time
    path.write_bytes(content)
    assert np.allclose([frame.timestamp for frame in read_frames(path)], np.arange(10) / 10)
    assert len(caplog.messages) == 1


def test_two_frames_of_one_time(tmp_path, caplog):
    path = ramp(tmp_path / "a.mp4", pts=lambda i: i + (i > 2))  # the third lasts twice as long
    content = bytearray(path.read_bytes())
    table = content.index(b"stts") + 12  # ISO 14496-12, 8.6.1.2: pairs of count and duration
    pairs = struct.unpack_from(">4I", content, table)
    assert (pairs[0], pairs[2], pairs[3]) == (2, 1, 2 * pairs[1])
    struct.pack_into(">I", content, table + 12, 0)
    path.write_bytes(content)
    times = [frame.timestamp for frame in read_frames(path)]
    # Between its neighbours; the later ones are where the container has them.
    assert np.allclose(times, [0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], atol=0.01)
    assert len(caplog.messages) == 1


def test_pictures_are_turned_upright(write_video, tmp_path):
    """A phone's portrait video: stored on its side, with a matrix that says how to show it."""
    path = write_video(tmp_path / "a.mp4", frames=2, fps=1, size=(64, 48))
    stored = next(read_frames(path)).rgb
    show_as(path, 0, 1, -1, 0)  # a quarter clockwise
    shown = next(read_frames(path)).rgb
    assert shown.shape == (64, 48, 3)
    assert np.array_equal(shown[:, -1], stored[0])  # the top row has become the right column


def show_as(path, a, b, c, d):
    """Write into an MP4 file that its (x, y) is shown at (a x + c y, b x + d y)."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    fixed = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    content[matrix : matrix + 36] = struct.pack(">9i", *fixed)
    path.write_bytes(content)


@pytest.mark.parametrize("one", [-1, 1])
@pytest.mark.parametrize("other", [-1, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_all_eight_orientations(write_video, tmp_path, one, other, turned):
    path = write_video(tmp_path / "a.mp4", frames=2, fps=1, size=(64, 48))
    stored = next(read_frames(path)).rgb
    a, b, c, d = (0, one, other, 0) if turned else (one, 0, 0, other)
    show_as(path, a, b, c, d)
    shown = next(read_frames(path)).rgb
    assert shown.shape == ((64, 48, 3) if turned else (48, 64, 3))
    y, x = np.mgrid[:48, :64]
    to_x, to_y = a * x + c * y, b * x + d * y  # ISO 14496-12, 8.3.2
    assert np.array_equal(shown[to_y - to_y.min(), to_x - to_x.min()], stored)


def wide_pixels(path, ratio, size=(72, 58), codec="mpeg4"):
    """A video that says how wide its pixels are: black, with a white disc where it is square."""
    width, height = size
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.hypot((x - width / 2) * float(ratio), y - height / 2) < 16
    picture = av.VideoFrame.from_ndarray(
        np.repeat(inside[..., None], 3, 2) * np.uint8(255), "rgb24"
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height = size
        stream.sample_aspect_ratio = ratio
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize(
    ("ratio", "width"),  # the width is FFmpeg's of scale=iw*sar:ih
    [(Fraction(64, 45), 102), (Fraction(8, 9), 64), (Fraction(12, 11), 78), (Fraction(1), 72)],
)
def test_pixels_that_are_not_square(tmp_path, ending, ratio, width):
    frame = next(read_frames(wide_pixels(tmp_path / f"a.{ending}", ratio)))
    assert frame.rgb.shape == (58, width, 3)  # the height stays
    y, x = np.nonzero(frame.rgb[..., 0] > 127)
    assert np.ptp(x) + 1 == pytest.approx(32, abs=2)  # a disc is as wide as high
    assert np.ptp(y) + 1 == pytest.approx(32, abs=2)


def test_pixels_that_are_not_square_in_a_turned_picture(tmp_path):
    """FFmpeg turns first: what is the height then stays, and the disc is one."""
    path = wide_pixels(tmp_path / "a.mp4", Fraction(64, 45))
    show_as(path, 0, 1, -1, 0)
    rgb = next(read_frames(path)).rgb
    assert rgb.shape == (72, 40, 3)  # 58 * 45 / 64 = 40.8
    y, x = np.nonzero(rgb[..., 0] > 127)
    assert np.ptp(x) == pytest.approx(np.ptp(y), abs=2)


def test_a_pixel_that_cannot_be_is_read_as_square(tmp_path, caplog):
    path = wide_pixels(tmp_path / "a.mkv", Fraction(1, 40))
    assert next(read_frames(path)).rgb.shape == (58, 72, 3)
    assert caplog.messages == [
        f"{path}: pixels 0.025 times as wide as high; they are read as square"
    ]


def test_no_video(tmp_path):
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(bytes(range(256)) * 20)
    for path, message in [
        (junk, "cannot be opened as a video"),
        (tmp_path / "none.mp4", "cannot be opened as a video"),
    ]:
        with pytest.raises(VideoError, match=message) as error:
            list(read_frames(path))
        assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (1, None), (14, None)])
def test_hdr_is_refused(tmp_path, ending, transfer, name):
    path = tmp_path / f"a.{ending}"
    grey = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), "rgb24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.color_trc = transfer  # 1: BT.709, 14: BT.2020 of 10 bits
        stream.codec_context.color_primaries = stream.codec_context.colorspace = 9
        frame = grey.reformat(format="yuv420p10le")
        frame.color_trc = transfer
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if name:
        with pytest.raises(VideoError, match=rf"a\.{ending}: is HDR \({name}, .*convert it"):
            next(read_frames(path))
    else:
        assert next(read_frames(path)).rgb.mean() == pytest.approx(99, abs=3)


@pytest.mark.parametrize("value", [0, 3, 200])
@pytest.mark.parametrize("field", [0, 1, 2])
def test_colours_that_mean_nothing_are_those_of_ordinary_video(tmp_path, field, value):
    """FFmpeg's filters refuse them, and its command too; players show something."""
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 48
        context = stream.codec_context
        context.color_trc = context.color_primaries = context.colorspace = 1
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), "rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    # ISO 14496-12, 12.1.5: primaries, transfer, matrix
    struct.pack_into(">H", content, content.index(b"colrncl") + 8 + 2 * field, value)
    path.write_bytes(content)
    assert next(read_frames(path)).rgb.mean() == pytest.approx(99, abs=3)


def test_a_title_that_is_not_utf_8(tmp_path):
    path = ramp(tmp_path / "a.avi", frames=3)
    content = path.read_bytes()
    assert content.count(b"Lavf") == 1  # the name of the program that wrote it
    path.write_bytes(content.replace(b"Lavf", b"caf\xe9"))
    assert len(list(read_frames(path))) == estimated_frames(path) == 3


def test_sound_only(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="has no video stream"):
        list(read_frames(path))


def test_what_is_no_regular_file_is_refused_at_once(write_video, tmp_path):
    fifo, wire, device = (tmp_path / f"{name}.mp4" for name in ("fifo", "socket", "device"))
    os.mkfifo(fifo)
    # Whoever opens it sees its end, so that a reader which does fails instead of waiting.
    writer = threading.Thread(target=lambda: fifo.write_bytes(b""), daemon=True)
    writer.start()
    socket.socket(socket.AF_UNIX).bind(str(wire))
    device.symlink_to("/dev/zero")
    for path, kind in [(fifo, "a FIFO"), (wire, "a socket"), (device, "a device")]:
        with pytest.raises(VideoError, match=rf"{path}: .*\({kind}, not a regular file\)"):
            next(read_frames(path))
        assert estimated_frames(path) is None
    assert writer.is_alive()  # nobody opened it
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer.join()
    os.close(reader)
    link = tmp_path / "link.mp4"
    link.symlink_to(write_video(tmp_path / "a.mp4", frames=3))
    assert len(list(read_frames(link))) == estimated_frames(link) == 3


def with_streams(path, *streams):
    """A file with these streams in this order: "sound", "cover", or (frames, (width, height))."""
    with av.open(str(path), "w") as container:
        frames = []
        for kind in streams:
            if kind == "sound":
                stream = container.add_stream("aac", rate=8000, layout="mono")
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.sample_rate = 8000
                frames.append((stream, [frame]))
                continue
            count, size = (1, (96, 96)) if kind == "cover" else kind
            stream = container.add_stream("mjpeg" if kind == "cover" else "mpeg4", rate=5)
            stream.width, stream.height = size
            if kind == "cover":
                stream.pix_fmt = "yuvj420p"
            stream.disposition = (
                Disposition.attached_pic if kind == "cover" else Disposition.default
            )
            black = np.zeros((size[1], size[0], 3), np.uint8)
            frames.append((stream, [av.VideoFrame.from_ndarray(black, "rgb24")] * count))
        for stream, pictures in frames:
            for i, picture in enumerate(pictures):
                picture.pts = i if stream.type == "video" else 0
                picture.time_base = Fraction(1, 5)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    "streams",
    [
        ("cover", (7, (64, 48))),
        ((7, (64, 48)), "cover"),
        ("sound", "cover", (7, (64, 48))),
        ((3, (32, 32)), (7, (64, 48))),
        ((7, (64, 48)), (3, (32, 32)), "cover"),
    ],
)
def test_the_best_video_stream_is_read(tmp_path, ending, streams):
    path = with_streams(tmp_path / f"a.{ending}", *streams)
    assert [frame.rgb.shape for frame in read_frames(path)] == [(48, 64, 3)] * 7


def test_a_stream_marked_as_default_goes_before_a_larger_one(tmp_path):
    path = with_streams(tmp_path / "a.mp4", (3, (64, 48)), (7, (32, 32)))
    content = bytearray(path.read_bytes())
    content[content.index(b"tkhd") + 7] &= ~1  # ISO 14496-12, 8.3.3: the track is not enabled
    path.write_bytes(content)
    assert [frame.rgb.shape for frame in read_frames(path)] == [(32, 32, 3)] * 7


def test_a_stream_of_an_unknown_codec_is_none(write_video, tmp_path):
    path = write_video(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(VideoError, match=r"a\.avi: has no video stream that can be decoded"):
        next(read_frames(path))


def test_sound_with_a_cover_is_no_video(tmp_path):
    path = with_streams(tmp_path / "a.mp4", "sound", "cover")
    with pytest.raises(VideoError, match=r"a\.mp4: has no video stream, only a cover picture"):
        next(read_frames(path))
    assert estimated_frames(path) is None


@pytest.mark.parametrize("ending", ["avi", "mkv"])
def test_a_truncated_file_gives_what_is_left(write_video, tmp_path, ending):
    path = write_video(tmp_path / f"a.{ending}", frames=60, fps=10, size=(160, 120))
    content = path.read_bytes()
    whole = [frame.rgb for frame in read_frames(path)]
    path.write_bytes(content[: len(content) // 2])
    frames = []
    try:
        for frame in read_frames(path):
            frames.append(frame.rgb)
    except VideoError as error:
        assert str(path) in str(error)  # some containers announce their length, some do not
    assert 10 < len(frames) < 40
    assert all(np.array_equal(a, b) for a, b in zip(frames[:-2], whole, strict=False))


def test_a_damaged_file_gives_its_good_frames_and_then_the_error(write_video, tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=60, fps=10, size=(160, 120))
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4 + (len(content) // 2)
    content[start : start + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    frames = []
    with pytest.raises(VideoError, match=r"a\.mp4: (damaged|truncated)"):
        for frame in read_frames(path):
            frames.append(frame.index)
    assert len(frames) > 20


def test_frames_that_the_decoder_made_up_are_left_out(write_video, tmp_path):
    path = write_video(tmp_path / "a.mkv", frames=60, fps=10, size=(160, 120))
    whole = [frame.rgb for frame in read_frames(path)]
    content = bytearray(path.read_bytes())
    for i in range(20):  # single bytes: the decoder conceals what it cannot read
        content[len(content) // 4 + i * len(content) // 40] ^= 0x55
    path.write_bytes(content)
    frames = []
    with pytest.raises(VideoError, match=r"a\.mkv: damaged, \d+ of 60 frames"):
        for frame in read_frames(path):
            frames.append(frame)
    assert 20 < len(frames) < 60
    wrong = [np.abs(f.rgb.astype(int) - whole[f.index]).mean() for f in frames]
    assert np.median(wrong) == 0


def test_fps_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="fps must be positive"):
        next(read_frames(tmp_path / "a.mp4", 0))
