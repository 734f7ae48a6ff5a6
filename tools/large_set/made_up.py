"""A tree of videos and a packed set of VoxCeleb2's shape, made of a few real files."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import av
import numpy as np

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.shard_files import Clip, PackInfo, ShardWriter

_SIZE = 64  # side of the packed pictures
_HEADER = struct.Struct("<8sIII")  # of an index: magic, crc32 of the rest, bytes of JSON, frames
_MOST_LINKS = 60_000  # to one file, of which ext4 allows 65,000


@dataclass(frozen=True)
class Shape:
    """How many of what. The defaults are VoxCeleb2's.

    Attributes:
        people: People.
        videos: Videos of all people.
        clips: Clips of all videos.
        frames: Packed frames of a clip.
        frames_of_shard: Packed frames of a shard.
        real: Share of the shards that are files of their own. The others are further names of them.
    """

    people: int = 6_000
    videos: int = 150_000
    clips: int = 1_100_000
    frames: int = 8
    frames_of_shard: int = 13_000  # 256 MiB of pictures of 20 kB
    real: float = 0.01

    def scaled(self, share: float) -> Shape:
        """Return the same for a share of the people."""
        counts = (max(round(share * it), 3) for it in (self.people, self.videos, self.clips))
        return Shape(*counts)

    def names(self) -> Iterator[Clip]:
        """Yield all clips: the person, the video, and the number of the clip in it."""
        for i in range(self.clips):
            video = i * self.videos // self.clips
            person = video * self.people // self.videos
            yield Clip(f"id{person:05d}", f"id{person:05d}/v{video:07d}", f"{i:07d}")


def write_tree(folder: Path, shape: Shape) -> None:
    """Write `folder`/PERSON/VIDEO/CLIP.mp4, all links to a few videos of two frames."""
    numbers, made = count(), folder.parent / "videos"
    made.mkdir(parents=True)
    original = made / "0"
    last = None
    for i, clip in enumerate(shape.names()):
        if i % _MOST_LINKS == 0:
            original = made / f"{next(numbers)}.mp4"
            _write_video(original)
        place = folder / clip.video
        if place != last:
            place.mkdir(parents=True)
            last = place
        os.link(original, place / f"{clip.track}.mp4")


def _write_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width = stream.height = _SIZE
        for picture in _pictures(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def write_packed(folder: Path, shape: Shape) -> None:
    """Write a packed set: real shards, then indices whose pictures are those of the real ones."""
    folder.mkdir()
    PackInfo(_SIZE, DEFAULT_TEMPLATE, {"made": "up"}).save(folder)
    pictures = _pictures(50)
    in_shard = max(shape.frames_of_shard // shape.frames, 1)
    real = max(round(shape.real * shape.clips / in_shard), 1)
    names, written = shape.names(), []
    for number in count():
        clips = [*islice(names, in_shard)]
        if not clips:
            return
        name = f"{number:05d}"
        if number < real or len(clips) < in_shard:
            written.append(_write_shard(folder, name, clips, shape.frames, pictures))
        else:
            _link_shard(folder, name, clips, written[number % real])


def _write_shard(
    folder: Path, name: str, clips: list[Clip], frames: int, pictures: list[np.ndarray]
) -> Path:
    with ShardWriter(folder, name, _SIZE) as writer:
        for i, clip in enumerate(clips):
            for frame in range(frames):
                picture = pictures[(i + frame) % len(pictures)]
                writer.add(clip, frame, picture, timestamp=float(frame), confidence=1.0)
        writer.finish_video({"video": name, "status": "packed"})
    return writer.path


def _link_shard(folder: Path, name: str, clips: list[Clip], real: Path) -> None:
    """Write an index of other clips for the pictures of a real shard."""
    content = real.with_suffix(".index").read_bytes()
    magic, _, length, frames = _HEADER.unpack_from(content)
    tables = json.loads(content[_HEADER.size : _HEADER.size + length])
    tables |= {"clips": [list(clip) for clip in clips], "videos": [{"video": name}]}
    text = json.dumps(tables).encode()
    payload = text + content[_HEADER.size + length :]
    header = _HEADER.pack(magic, zlib.crc32(payload), len(text), frames)
    (folder / "shards" / f"{name}.index").write_bytes(header + payload)
    os.link(real, folder / "shards" / f"{name}.bin")


def _pictures(number: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (number, 8, 8, 3), np.uint8)
    return [*np.kron(coarse, np.ones((1, _SIZE // 8, _SIZE // 8, 1), np.uint8))]
