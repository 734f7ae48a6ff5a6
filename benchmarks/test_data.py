"""The loader and the packer: frames per second of elapsed time and of a core's working time.

Other programs do not change the second. Also measured: how long training waits for data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import cv2
import pytest
from torch.utils.data import DataLoader

from benchmarks import faces
from benchmarks.cases import DEVICE
from benchmarks.learner import learner
from tcae.cli.progress import Stopwatch
from tcae.data.align import DEFAULT_TEMPLATE, align
from tcae.data.detectors import make_detector
from tcae.data.pairs import PairBatches, PairsConfig
from tcae.data.pictures import decode_image, encode_jpeg
from tcae.data.shard_files import Clip, ShardWriter
from tcae.data.video import read_frames
from tcae.training.device import supports_bf16
from tcae.training.loader import feed

pytestmark = pytest.mark.every_case

BATCH = 32
WORKERS = 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return faces.heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def dataset(pictures, tmp_path_factory):
    return faces.packed(tmp_path_factory.mktemp("set"), pictures)


@pytest.fixture
def per_core(benchmark) -> Callable[[Callable[[], object], int], None]:
    """Measure a call that handles some frames on one core."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)

    def measure(run: Callable[[], object], frames: int) -> None:
        run()
        benchmark.pedantic(run, rounds=5, warmup_rounds=1)
        if benchmark.disabled:
            return
        worked = []
        for _ in range(5):
            start = time.process_time()
            run()
            worked.append(time.process_time() - start)
        benchmark.extra_info |= {
            "frames_per_second": frames / benchmark.stats.stats.median,
            "frames_per_core_second": frames / sorted(worked)[2],
        }

    yield measure
    cv2.setNumThreads(before)


def pairs_of(dataset, size: int) -> PairBatches:
    config = PairsConfig(split="time", split_seed=0)
    return PairBatches(dataset, "train", BATCH, seed=0, image_size=size, config=config)


@pytest.mark.parametrize("size", [256, 64])
def test_loading_on_one_core(per_core, benchmark, dataset, size):
    """Read, check, decode, crop, resize and mirror."""
    batches = pairs_of(dataset, size)
    steps = iter(range(10**9))
    benchmark.group = "loader"
    per_core(lambda: batches[next(steps)], 2 * BATCH)
    benchmark.extra_info["what"] = f"loading, pictures of 256x256 to {size}x{size}"
    benchmark.extra_info["mean_jpeg_bytes"] = float(dataset.frames["length"].mean())


def test_loading_with_workers(benchmark, dataset):
    loader = DataLoader(
        pairs_of(dataset, 256), batch_size=None, sampler=range(10**6), num_workers=WORKERS
    )
    batches = iter(loader)
    for _ in range(2 * WORKERS):
        next(batches)
    benchmark.group = "loader"
    benchmark.pedantic(lambda: [next(batches) for _ in range(8)], rounds=5)
    if not benchmark.disabled:
        benchmark.extra_info |= {
            "workers": WORKERS,
            "frames_per_second": 8 * 2 * BATCH / benchmark.stats.stats.median,
        }


def test_waiting_for_data(benchmark, dataset):
    """Steps of the preset `default`, with workers that load on the same cores."""
    config = PairsConfig(split="time", split_seed=0)
    pairs = PairBatches(dataset, "train", 8, seed=0, image_size=256, config=config)
    learn = learner("default", "bf16" if supports_bf16(DEVICE) else "fp32", 256)
    watch = Stopwatch()
    waits: list[float] = []
    with contextlib.closing(feed(pairs, range(10**6), WORKERS, DEVICE, watch)) as batches:

        def step() -> None:
            batch, waited = next(batches)
            waits.append(waited)
            learn(batch["source"], batch["target"])

        for _ in range(2):
            step()
        waits.clear()
        benchmark.group = "loader"
        benchmark.pedantic(step, rounds=10)
    if not benchmark.disabled:
        share = sum(waits) / benchmark.stats.stats.total
        benchmark.extra_info["data_wait_share"] = share


def decoders() -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {"OpenCV": decode_image}
    try:
        import simplejpeg
    except ImportError:
        return found
    return found | {"simplejpeg": lambda blob: simplejpeg.decode_jpeg(blob, "RGB")}


@pytest.mark.parametrize("name", ["OpenCV", "simplejpeg"])
def test_decoding(per_core, benchmark, pictures, name):
    if name not in decoders():
        pytest.skip(f"{name} is not installed")
    decode = decoders()[name]
    blobs = [encode_jpeg(rgb) for rgb in pictures]
    assert abs(decode(blobs[0]).astype(int) - decode_image(blobs[0])).max() <= 2
    benchmark.group = "JPEG decoder"
    per_core(lambda: [decode(blob) for blob in blobs], len(blobs))
    benchmark.extra_info["what"] = f"JPEG by {name}, 256x256"


@pytest.mark.parametrize("stage", ["decode", "detect", "align", "write"])
def test_packing(per_core, benchmark, pictures, tmp_path, stage):
    """The time of each stage of the packer for a frame of a talk, 640x360."""
    path = faces.video(tmp_path / "talk.mp4", pictures)
    frames = [frame.rgb for frame in read_frames(path, fps=2, threads=1)]
    detect = make_detector()
    found = [(rgb, face) for rgb in frames for face in detect(rgb)]
    assert len(found) >= len(frames) // 2
    shards = iter(range(10**9))

    def write() -> None:
        with ShardWriter(tmp_path, str(next(shards)), faces.SIDE) as shard:
            for i, rgb in enumerate(pictures):
                shard.add(Clip("a", "v", "0"), i, rgb)
            shard.finish_video({"video": "v"})

    runs: dict[str, tuple[Callable[[], object], int]] = {
        "decode": (lambda: list(read_frames(path, fps=1, threads=1)), 100),
        "detect": (lambda: [detect(rgb) for rgb in frames], len(frames)),
        "align": (
            lambda: [align(rgb, f.points, DEFAULT_TEMPLATE, faces.SIDE) for rgb, f in found],
            len(found),
        ),
        "write": (write, len(pictures)),
    }
    benchmark.group = "packer"
    per_core(*runs[stage])
    benchmark.extra_info["stage"] = stage
