"""Picture files of every kind: as a viewer shows them, or refused with the reason."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tcae.data.shards import PackedDataset
from tcae.data.sources import find_sources
from tcae.data.stills import StillError, read_still
from tcae.data.tone_mapping import tone_map
from tcae.data.video import VideoError, read_frames
from tcae.pack import main as pack

PQ, HLG = 16, 18
LEVEL = 26_000  # of 65535
AV1 = {"preset": "8", "crf": "5", "svtav1-params": "avif=1"}


def grey_png(level: int = LEVEL, dtype: Any = np.uint16) -> bytes:
    return cv2.imencode(".png", np.full((48, 64, 3), level, dtype))[1].tobytes()


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG picture with one more chunk after its header (PNG, 5.3)."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return png[:33] + struct.pack(">I", len(data)) + kind + data + check + png[33:]


def hdr_png(transfer: int, depth: int = 16) -> bytes:
    png = grey_png() if depth == 16 else grey_png(LEVEL // 257, np.uint8)
    return with_chunk(png, b"cICP", bytes([9, transfer, 0, 1]))  # PNG, 11.3.2.6: of BT.2020


def hdr_avif(path: Path, transfer: int) -> bytes:
    frame = av.VideoFrame(64, 48, "yuv420p10le")
    for plane, value in zip(frame.planes, (round(LEVEL / 65535 * 1023), 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
    frame.color_trc, frame.colorspace, frame.color_range = transfer, 9, 2
    with av.open(str(path), "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1, options=AV1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        context.color_range = 2
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if sys.platform == "linux":
        # As root, SVT-AV1 puts this process, and all it starts, before all others of the machine.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path.read_bytes()


def expected(transfer: int) -> np.ndarray:
    return tone_map(np.full((1, 1, 3), LEVEL, np.uint16), transfer)[0, 0].astype(int)


@pytest.mark.parametrize("kind", ["png", "png of 8 bits", "avif"])
@pytest.mark.parametrize(("transfer", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_is_refused_or_tone_mapped(tmp_path: Path, kind: str, transfer: int, name: str) -> None:
    """In the words of videos, by both readers: of folders, and of files that are called videos."""
    content = {
        "png": lambda: hdr_png(transfer),
        "png of 8 bits": lambda: hdr_png(transfer, 8),
        "avif": lambda: hdr_avif(tmp_path / "made.avif", transfer),
    }[kind]()
    folder = tmp_path / "ann"
    folder.mkdir()
    (folder / f"1.{kind[:4].strip()}").write_bytes(content)
    shutil.copy(*folder.iterdir(), tmp_path / "b.mp4")
    (source,) = find_sources(folder)
    message = rf": is HDR \({name}, .*whose colours would be read washed out; --tone-map reads it"
    for frames in (source.read(None), read_frames(tmp_path / "b.mp4")):
        with pytest.raises(VideoError, match=message):
            next(frames)
    (in_folder,) = source.read(None, tone_mapped=True)
    (frame,) = read_frames(tmp_path / "b.mp4", tone_mapped=True)
    assert in_folder.rgb.shape == (48, 64, 3)
    assert np.array_equal(in_folder.rgb, frame.rgb)
    assert np.abs(frame.rgb.astype(int) - expected(transfer)).max() <= 2


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_sixteen_bits_are_not_hdr(ending: str) -> None:
    content = cv2.imencode(f".{ending}", np.full((48, 64, 3), LEVEL, np.uint16))[1].tobytes()
    for tone_mapped in (False, True):
        assert np.abs(read_still(content, tone_mapped).astype(int) - LEVEL / 257).max() <= 1
    ordinary = with_chunk(grey_png(), b"cICP", bytes([1, 13, 0, 1]))  # sRGB
    assert np.abs(read_still(ordinary).astype(int) - LEVEL / 257).max() <= 1


def test_hdr_among_others_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "ann", tmp_path / "out"
    folder.mkdir()
    (folder / "1.png").write_bytes(grey_png())
    (folder / "2.png").write_bytes(hdr_png(PQ))
    words = [str(tmp_path), "--out", str(out), "--aligned", "--image-size", "32", "--workers", "1"]
    assert pack(words) == 1
    line = "1 of 2 pictures are left out, as 2.png, which is HDR (PQ"
    assert line in capfd.readouterr().err and line in (out / "manifest.csv").read_text()
    assert pack([*words, "--tone-map", "--overwrite"]) == 0
    assert len(PackedDataset(out)) == 2
    assert np.abs(PackedDataset(out).read(1).astype(int) - expected(PQ)).max() <= 3


def box(kind: bytes, *parts: bytes) -> bytes:
    """ISO 14496-12, 4.2. Without a version."""
    content = b"".join(parts)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def tiled(avif: bytes) -> bytes:
    """An AVIF picture of twice the same one side by side (ISO 23008-12, 6.6.2.3)."""
    start = avif.index(b"av1C") - 4
    decoder = avif[start : start + struct.unpack_from(">I", avif, start)[0]]
    start = avif.index(b"mdat") + 4
    tile, grid = avif[start:], struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 48)
    full = bytes(4)  # version and flags

    def item(number: int, kind: bytes) -> bytes:
        return box(b"infe", b"\2\0\0\0", struct.pack(">HH4s", number, 0, kind), b"\0")

    def size(width: int) -> bytes:
        return box(b"ispe", full, struct.pack(">II", width, 48))

    def meta(place: int) -> bytes:
        places = [(1, place, len(grid))]
        places += [(number, place + len(grid), len(tile)) for number in (2, 3)]
        extents = b"".join(struct.pack(">HHHII", n, 0, 1, at, length) for n, at, length in places)
        used = b"\0\1\1\1" + b"\0\2\2\2\3" + b"\0\3\2\2\3"
        return box(
            b"meta", full,
            box(b"hdlr", full, bytes(4), b"pict", bytes(13)),
            box(b"pitm", full, b"\0\1"),
            box(b"iloc", full, b"\x44\0", struct.pack(">H", 3), extents),
            box(b"iinf", full, b"\0\3", item(1, b"grid"), item(2, b"av01"), item(3, b"av01")),
            box(b"iref", full, box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3))),
            box(b"iprp", box(b"ipco", size(128), size(64), decoder),
                box(b"ipma", full, struct.pack(">I", 3), used)),
        )  # fmt: skip

    head = box(b"ftyp", b"avif", bytes(4), b"avifmif1")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", grid, tile)


def test_a_picture_in_tiles_is_refused(tmp_path: Path) -> None:
    """Its first tile is not all. As of telephones, which write HEIC like this."""
    content = tiled(hdr_avif(tmp_path / "a.avif", 1))
    with pytest.raises(StillError, match="is a picture in tiles, which is not read"):
        read_still(content)
    (tmp_path / "a.mov").write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mov: has no video stream, only a picture in tiles"):
        next(read_frames(tmp_path / "a.mov"))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(("most", "value"), [(100, 60), (255, 153), (1023, 614), (65535, 39321)])
def test_a_picture_that_tells_its_brightest_value(text: bool, most: int, value: int) -> None:
    """PGM, as cameras of 10 bits write it."""
    head = f"P{2 if text else 5}\n64 48\n{most}\n".encode()
    size = ">H" if most > 255 else "B"
    body = b" ".join([b"%d" % value] * 3072) if text else struct.pack(size, value) * 3072
    picture = read_still(head + body + b"\n")
    assert picture.shape == (48, 64, 3)
    assert np.abs(picture.astype(int) - 153).max() <= 1


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_pixels_that_are_not_square(kind: str) -> None:
    """As FFmpeg writes pictures of a wide video: a shape without a unit. A resolution is none."""
    picture = np.full((48, 64, 3), 90, np.uint8)
    if kind == "png":
        png = cv2.imencode(".png", picture)[1].tobytes()
        wide = with_chunk(png, b"pHYs", struct.pack(">IIB", 64, 45, 0))
        printed = with_chunk(png, b"pHYs", struct.pack(">IIB", 640, 450, 1))
    else:
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        assert jpeg[6:11] == b"JFIF\0"
        wide = jpeg[:13] + struct.pack(">BHH", 0, 64, 45) + jpeg[18:]
        printed = jpeg[:13] + struct.pack(">BHH", 1, 640, 450) + jpeg[18:]
    assert read_still(wide).shape == (48, 91, 3)  # 64 * 64 / 45 = 91.02
    assert read_still(printed).shape == (48, 64, 3)


def test_a_transparent_picture_has_the_colours_that_are_stored() -> None:
    rgba = np.full((48, 64, 4), 90, np.uint8)
    rgba[:, :32, 3] = 0
    for ending in ("png", "webp"):
        content = cv2.imencode(f".{ending}", rgba, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
        assert (read_still(content)[:, 32:] == 90).all()
    assert (read_still(cv2.imencode(".png", rgba)[1].tobytes()) == 90).all()


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp", "jp2", "ppm", "avif"])
def test_a_picture_that_was_cut_off_is_none(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    if ending == "avif":
        content = hdr_avif(tmp_path / "a.avif", 1)
    else:
        content = cv2.imencode(f".{ending}", noise)[1].tobytes()
    assert read_still(content).shape == (48, 64, 3)
    lengths = [int(len(content) * share) for share in (0.4, 0.6, 0.95)]
    lengths += [len(content) - 1] * (ending in ("avif", "ppm"))
    for length in lengths:
        with pytest.raises(StillError, match="cannot be read as a picture"):
            read_still(content[:length])


def test_a_png_with_a_broken_shape_of_pixels() -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    png = with_chunk(cv2.imencode(".png", picture)[1].tobytes(), b"pHYs", b"short")
    assert read_still(png).shape == picture.shape
