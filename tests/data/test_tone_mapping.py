"""HDR in the colours of ordinary video: against the values that the standards print."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tcae.data import tone_mapping
from tcae.data.shards import PackedDataset
from tcae.data.tone_mapping import eetf, hlg_light, pq_light, pq_signal, tone_map
from tcae.data.video import VideoError, read_frames
from tcae.pack import main as pack

PQ, HLG = 16, 18
CODES = 65535


def grey(signal: float, transfer: int) -> np.ndarray:
    codes = np.full((1, 1, 3), round(CODES * signal), np.uint16)
    return tone_map(codes, transfer)[0, 0].astype(int)


# Table 1 of BT.2408: light of a 1,000 cd/m2 display, and the signals in percent.
@pytest.mark.parametrize(
    ("light", "pq", "hlg"),
    [(0, 0, 0), (26, 0.38, 0.38), (162, 0.56, 0.71), (203, 0.58, 0.75), (1000, 0.75, 1.0)],
)
def test_signals_of_reference_levels(light: float, pq: float, hlg: float) -> None:
    assert pq_signal(np.array(light)) == pytest.approx(pq, abs=0.006)
    assert pq_light(pq_signal(np.array(light))) == pytest.approx(light, rel=1e-6, abs=1e-3)
    assert 1000 * hlg_light(np.array(hlg)) ** 1.2 == pytest.approx(light, rel=0.05, abs=1e-3)


def test_the_curves_ends() -> None:
    assert pq_light(np.array([0.0, 1.0])) == pytest.approx([0, 10000])
    assert hlg_light(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)


def test_the_roll_off_is_bt_2390s() -> None:
    """Below the knee nothing changes; it ends at the target, and its slope has no step."""
    most = 0.7
    knee = 1.5 * most - 0.5
    x = np.linspace(0, 1, 10001)
    y = eetf(x, most)
    assert np.array_equal(y[x < knee], x[x < knee])
    assert y[-1] == pytest.approx(most)
    slope = np.diff(y) / np.diff(x)
    assert np.abs(np.diff(slope)).max() < 0.01
    assert slope.min() > -1e-9 and slope[-1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_grey_stays_grey_and_rises_to_white(transfer: int) -> None:
    signals = np.linspace(0, 1, 60)
    shown = np.array([grey(signal, transfer) for signal in signals])
    assert np.ptp(shown, 1).max() <= 1
    assert (np.diff(shown[:, 0]) >= 0).all()
    assert shown[0].max() == 0 and shown[-1].min() == 255


def test_light_below_the_knee_is_shown_as_it_is() -> None:
    """By hand: 40 cd/m2, where the knee is at 95, is 40/203 of white, through BT.1886."""
    expected = 255 * (40 / 203) ** (1 / 2.4)
    assert grey(pq_signal(np.array(40.0)), PQ) == pytest.approx([expected] * 3, abs=1)
    scene = (40 / 1000) ** (1 / 1.2)
    signal = np.sqrt(3 * scene) if scene <= 1 / 12 else np.nan
    assert grey(signal, HLG) == pytest.approx([expected] * 3, abs=1)


def test_colours_are_those_of_bt_709() -> None:
    """BT.709's red in BT.2020's primaries (BT.2087, linear) comes back as red."""
    to_2020 = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    for colour in np.eye(3):
        codes = np.rint(CODES * pq_signal(40 * to_2020 @ colour)).astype(np.uint16)
        shown = tone_map(codes.reshape(1, 1, 3), PQ)[0, 0] / 255
        assert 203 * shown**2.4 == pytest.approx(40 * colour, abs=0.6)


def hdr(path: Path, transfer: int, signal: float) -> Path:
    """A grey video of 10 bits, BT.2020, of limited range."""
    frame = av.VideoFrame(64, 48, "yuv420p10le")
    for plane, value in zip(frame.planes, (round(64 + 876 * signal), 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
    frame.color_trc, frame.colorspace, frame.color_range = transfer, 9, 1
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        context.color_range = 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("signal", [0.1, 0.4, 0.6, 0.9])
def test_hdr_is_tone_mapped(tmp_path: Path, transfer: int, signal: float) -> None:
    path = hdr(tmp_path / "a.mkv", transfer, signal)
    (frame,) = read_frames(path, tone_mapped=True)
    assert frame.rgb.shape == (48, 64, 3)
    assert np.abs(frame.rgb.astype(int) - grey(signal, transfer)).max() <= 2
    with pytest.raises(VideoError, match=r"is HDR .*--tone-map reads it"):
        next(read_frames(path))


def test_packing_with_tone_mapping(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = hdr(tmp_path / "a.mkv", PQ, 0.4), tmp_path / "out"
    words = [str(path), "--out", str(out), "--aligned", "--image-size", "32", "--workers", "1"]
    assert pack(words) == 1
    assert "--tone-map" in (out / "manifest.csv").read_text()
    assert pack([*words, "--tone-map"]) == 2  # not the same set
    assert "was packed with tone_mapped None, not True" in capfd.readouterr().err
    assert pack([*words, "--tone-map", "--overwrite"]) == 0
    assert np.abs(PackedDataset(out).read(0).astype(int) - grey(0.4, PQ)).max() <= 3


def test_ordinary_video_is_not_touched(tmp_path: Path) -> None:
    path = hdr(tmp_path / "a.mkv", 14, 0.4)
    (frame,), (mapped,) = read_frames(path), read_frames(path, tone_mapped=True)
    assert np.array_equal(frame.rgb, mapped.rgb)


def test_the_tables_are_made_once() -> None:
    grey(0.5, PQ)
    before = tone_mapping._light_of_codes.cache_info().misses
    grey(0.6, PQ)
    assert tone_mapping._light_of_codes.cache_info().misses == before
