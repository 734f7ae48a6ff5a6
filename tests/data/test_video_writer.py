from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tcae.data.video import read_frames
from tcae.data.video_writer import VideoWriter

# Each is far from the others, also after compression.
COLOURS = np.array([[200, 40, 40], [40, 180, 60], [50, 60, 210], [220, 210, 60], [120, 120, 120]])
RATE = 48000


def pictures(count: int) -> list[np.ndarray]:
    return [np.full((64, 96, 3), COLOURS[k % 5], np.uint8) for k in range(count)]


def packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


@pytest.fixture
def spoken(tmp_path: Path):
    """Function that writes a second of video and sound, the first picture at a given time."""

    def write(name: str, codec: str, start: float) -> Path:
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height = 96, 64
            sound = container.add_stream(codec, rate=RATE)
            sound.layout = "mono"
            random = np.random.default_rng(0)
            for k, rgb in enumerate(pictures(10)):
                frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
                frame.pts = round((start + k / 10) * 10)
                container.mux(video.encode(frame))
            container.mux(video.encode())
            kind = sound.codec_context.format.name
            noise = random.normal(0, 0.1, (1, int(RATE * (start + 1)))).astype(np.float32)
            noise = (noise * 2000).astype(np.int16) if kind == "s16" else noise
            for k in range(0, noise.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(noise[:, k : k + 1024]), kind, "mono"
                )
                frame.rate, frame.pts = RATE, k
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
        return tmp_path / name

    return write


def test_pictures_and_uneven_times_come_back(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.52]
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 64, 96) as video:
        for rgb, time in zip(pictures(5), times, strict=True):
            video.write(rgb, time)
        assert not path.exists()
    frames = list(read_frames(path))
    np.testing.assert_allclose([frame.timestamp for frame in frames], times, atol=1e-4)
    for frame, rgb in zip(frames, pictures(5), strict=True):
        assert np.abs(frame.rgb.astype(int) - rgb).max() <= 6  # the same colours, BT.709 or not
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.duration * stream.time_base) == pytest.approx(0.54, abs=1e-3)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_sound_is_copied_and_stays_with_the_pictures(tmp_path: Path, spoken, start: float) -> None:
    source = spoken("a.mkv", "aac", start)
    with VideoWriter(tmp_path / "b.mp4", 64, 96, source) as video:
        for frame in read_frames(source):
            video.write(frame.rgb, frame.timestamp)
    theirs, ours = (packets(tmp_path / name, "audio") for name in ("a.mkv", "b.mp4"))
    moved = {content: time - start for time, content in theirs}
    assert len(ours) >= 40 and len(ours) >= len([t for t in moved.values() if t >= 0])
    for time, content in ours:
        assert time == pytest.approx(moved[content], abs=2e-3)  # Matroska rounds to milliseconds
    assert len(packets(tmp_path / "b.mp4", "video")) == 10


def test_sound_that_mp4_does_not_take_is_left_out_with_a_line(
    tmp_path: Path, spoken, caplog
) -> None:
    source = spoken("a.mkv", "pcm_s16le", 0.0)
    with VideoWriter(tmp_path / "b.mp4", 64, 96, source) as video:
        video.write(pictures(1)[0], 0.0)
    assert "its sound (pcm_s16le) is left out" in caplog.text
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 64, 96) as video:
        video.write(pictures(1)[0], 0.0)
        raise KeyboardInterrupt
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_odd_sides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="height, width: 63, 96; "):
        VideoWriter(tmp_path / "a.mp4", 63, 96)
    assert not list(tmp_path.iterdir())
