"""The same pictures as our shards, webdataset's tars and litdata's chunks: frames a second.

python tools/shard_formats --out formats        # pip install webdataset litdata

Each format is written once. Then a process for each reads all pictures, in order and in random
order, with checksums where the format has them, and decodes them by the same function. Processor
time counts, of one core; the files are in memory by then.
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.pictures import decode_image, encode_jpeg
from tcae.data.shard_files import Clip, PackInfo, ShardWriter
from tcae.data.shards import PackedDataset

CLIPS, FRAMES, SIZE = 400, 8, 256
FORMATS = ("shards", "webdataset", "litdata")


def pictures() -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield clip, frame and picture. JPEGs of them have about 20 kB."""
    drawn = np.random.default_rng(0)
    for clip in range(CLIPS):
        coarse = drawn.integers(0, 256, (SIZE // 8, SIZE // 8, 3)).astype(np.float32)
        smooth = np.kron(coarse, np.ones((8, 8, 1), np.float32))
        for frame in range(FRAMES):
            grain = drawn.normal(0, 6, smooth.shape).astype(np.float32)
            yield clip, frame, np.clip(0.5 * smooth + 64 + grain, 0, 255).astype(np.uint8)


def write_all(out: Path) -> None:
    """Write the three formats."""
    (out / "shards").mkdir(parents=True)
    PackInfo(SIZE, DEFAULT_TEMPLATE, {}).save(out / "shards")
    (out / "webdataset").mkdir()
    items = []
    with (
        ShardWriter(out / "shards", "0000", SIZE) as shard,
        tarfile.open(out / "webdataset" / "0000.tar", "w") as tar,
    ):
        for clip, frame, rgb in pictures():
            shard.add(Clip(f"id{clip}", f"v{clip}", "0"), frame, rgb)
            blob = encode_jpeg(rgb)
            entry = tarfile.TarInfo(f"v{clip:05d}-{frame}.jpg")
            entry.size = len(blob)
            tar.addfile(entry, io.BytesIO(blob))
            items.append(blob)
        shard.finish_video({"video": "all", "status": "packed"})
    from litdata.streaming import Cache  # type: ignore[import-not-found]

    cache = Cache(str(out / "litdata"), chunk_bytes=2**26)
    for i, blob in enumerate(items):
        cache[i] = {"picture": blob, "clip": i // FRAMES}
    cache.done()
    cache.merge()


def readers(
    out: Path, name: str
) -> tuple[Callable[[], Iterator[bytes]], Callable[[int], bytes] | None]:
    """Return what yields all pictures of a format in order, and what returns one by its number."""
    if name == "shards":
        data = PackedDataset(out / name)
        return lambda: (data.blob(i) for i in range(len(data))), data.blob
    if name == "webdataset":
        import webdataset  # type: ignore[import-not-found]

        tars = [str(out / name / "0000.tar")]
        return lambda: (it["jpg"] for it in webdataset.WebDataset(tars, shardshuffle=False)), None
    from litdata import StreamingDataset  # type: ignore[import-not-found]

    chunks = StreamingDataset(str(out / name))
    return (
        lambda: (chunks[i]["picture"] for i in range(len(chunks))),
        lambda i: bytes(chunks[i]["picture"]),
    )


def rate(frames: Iterator[bytes], decoded: bool) -> float:
    """Return frames for each second of processor time."""
    begin, count = time.process_time(), 0
    for blob in frames:
        if decoded:
            assert decode_image(bytes(blob)) is not None
        count += 1
    return count / (time.process_time() - begin)


def measure(out: Path, name: str) -> None:
    """Print the rates of a format."""
    in_order, one = readers(out, name)
    order = random.Random(0).sample(range(CLIPS * FRAMES), CLIPS * FRAMES)
    rate(in_order(), False)  # the files come into memory
    cells = [f"{rate(in_order(), decoded):.0f}" for decoded in (False, True)]
    for decoded in (False, True):
        cells.append(f"{rate((one(i) for i in order), decoded):.0f}" if one else "none")
    cells.append(notices_damage(out, name))
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def notices_damage(out: Path, name: str) -> str:
    """Flip a bit in the middle of the largest file and return whether reading all says so."""
    path = max((out / name).rglob("*.*"), key=lambda it: it.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    try:
        sum(len(blob) for blob in readers(out, name)[0]())
    except Exception as error:
        return type(error).__name__
    return "not noticed"


def main() -> int:
    """Write and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="new directory for the files")
    parser.add_argument("--measure", choices=FORMATS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.out, options.measure)
        return 0
    write_all(options.out)
    print("| format | in order | and decoded | random | and decoded | a flipped bit |", flush=True)
    for name in FORMATS:
        again = [sys.executable, __file__, "--out", str(options.out), "--measure", name]
        subprocess.run(again, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
