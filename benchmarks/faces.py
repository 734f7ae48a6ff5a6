"""The pictures that loader and packer are measured on: rendered heads with camera noise."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.shard_files import Clip, PackInfo, ShardWriter
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.packed import synthesize
from tcae.data.synthetic.world import World

SIDE, PEOPLE, FRAMES = 256, 8, 6
GRAIN = 3.0  # standard deviation in grey values, so that files are about as large as photographs


def heads(folder: Path) -> list[NDArray[np.uint8]]:
    """Render pictures (SIDE, SIDE, 3) of PEOPLE, with FRAMES of each person in a row."""
    world = World(identities=PEOPLE, videos=1, frames=FRAMES, image_size=SIDE)
    synthesize(world, folder / "rendered", workers=1)
    dataset = PackedDataset(folder / "rendered")
    chance = np.random.default_rng(0)
    return [_grainy(dataset.read(i), chance) for i in range(len(dataset))]


def packed(folder: Path, pictures: list[NDArray[np.uint8]]) -> PackedDataset:
    """Write the pictures as a packed data set."""
    out = folder / "packed"
    out.mkdir()
    PackInfo(SIDE, DEFAULT_TEMPLATE, {}).save(out)
    with ShardWriter(out, "0000", SIDE) as shard:
        for i, rgb in enumerate(pictures):
            person, frame = divmod(i, FRAMES)
            shard.add(Clip(f"p{person}", f"v{person}", "0"), frame, rgb)
        shard.finish_video({"video": "all"})
    return PackedDataset(out)


def video(path: Path, pictures: list[NDArray[np.uint8]], seconds: int = 4) -> Path:
    """Write a video of a talking person: 640x360, 25 frames per second, H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        frame = np.full((360, 640, 3), 90, np.uint8)
        for i in range(25 * seconds):
            left = 180 + i % 25
            frame[52 : 52 + SIDE, left : left + SIDE] = pictures[i * FRAMES // (25 * seconds)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path


def _grainy(rgb: NDArray[np.uint8], chance: np.random.Generator) -> NDArray[np.uint8]:
    noise = chance.normal(0, GRAIN, rgb.shape)
    return (rgb + noise).round().clip(0, 255).astype(np.uint8)
