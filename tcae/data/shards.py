"""Packed data sets: random access to the frames of the files in `tcae.data.shard_files`."""

from __future__ import annotations

import logging
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.clip_table import ClipTable
from tcae.data.pictures import decode_image
from tcae.data.remote import RemoteBlobs, local_path, remote_pictures
from tcae.data.shard_files import Blobs, PackInfo, ShardError
from tcae.data.shared_table import open_frame_table

log = logging.getLogger(__name__)

_OPEN_FILES = 64


class PackedDataset:
    """Random access to the frames of a packed data set.

    The order of the frames does not depend on how they are divided into files. Shards that cannot
    be read are left out, with one warning each.

    Args:
        path: Directory that `python -m tcae.pack` wrote, or the URL of one (`tcae.data.remote`).

    Attributes:
        path: That directory. Of a URL, the local copy of all but the pictures.
        image_size: Side of the pictures in pixels.
        template: Alignment template of the faces.
        failures: One line for each shard that cannot be used in full.

    Raises:
        ShardError: Not a packed data set, or no readable frame in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = local_path(path)
        self._remote = remote_pictures(self.path)
        info = PackInfo.load(self.path)
        self.image_size, self.template = info.image_size, info.template
        self._table = open_frame_table(self.path)
        self.failures = [*self._table.failures]
        for line in self.failures:
            log.warning("%s", line)
        self._files: OrderedDict[int, Blobs | RemoteBlobs] = OrderedDict()
        if not len(self.frames):
            raise ShardError(f"{self.path}: holds no readable frame")

    @property
    def clips(self) -> ClipTable:
        """The clips, sorted by identity, video and track."""
        return self._table.clips

    @property
    def frames(self) -> NDArray[np.void]:
        """Structured array sorted by clip and frame number.

        Its fields are `clip` (index into `clips`), `frame` (number in the source video),
        `timestamp` (s), `confidence`, and where the picture lies (`shard`, `offset`, `length`,
        `crc32`).
        """
        return self._table.frames

    def clip_starts(self) -> NDArray[np.int64]:
        """Return (C + 1,), the first frame of each clip, and the number of frames."""
        clip = np.ascontiguousarray(self.frames["clip"])  # searched many times faster
        return np.searchsorted(clip, np.arange(len(self.clips) + 1, dtype=clip.dtype))

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, i: int) -> str:
        """Return the name of frame `i` in label tables, "video/track/frame number"."""
        return self._table.name(i)

    def identity(self, i: int) -> str:
        """Return the name of the person in frame `i`."""
        return self.clips.identity(int(self.frames["clip"][i]))

    def read(self, i: int) -> NDArray[np.uint8]:
        """Return the picture of frame `i`: (image_size, image_size, 3) uint8, RGB.

        Raises:
            ShardError: The picture is damaged or missing.
        """
        rgb = decode_image(self.blob(i))
        if rgb is None or rgb.shape != (self.image_size, self.image_size, 3):
            name = self._blobs(int(self.frames[i]["shard"])).path
            raise ShardError(f"{name}: frame {self.name(i)} is no picture of the right size")
        return rgb

    def blob(self, i: int) -> bytes:
        """Return the picture of frame `i` as it is stored, in JPEG, after a look at its checksum.

        Raises:
            ShardError: The picture is damaged or missing.
        """
        frame = self.frames[i]
        file = self._blobs(int(frame["shard"]))
        place = int(frame["offset"]), int(frame["length"])
        blob = file.read(*place)
        if zlib.crc32(blob) != frame["crc32"] and isinstance(file, RemoteBlobs):
            blob = file.read_anew(*place)  # a crash may have damaged the cache
        if zlib.crc32(blob) != frame["crc32"]:
            raise ShardError(f"{file.path}: damaged at frame {self.name(i)}")
        return blob

    def prefetch(self, frames: Iterable[int]) -> None:
        """Fetch the pictures of frames together if they are behind a URL. Else do nothing."""
        if self._remote is not None:
            rows = self.frames[[*frames]][["shard", "offset", "length"]].tolist()
            self._remote.prefetch((self._table.shards[row[0]], *row[1:]) for row in rows)

    def _blobs(self, shard: int) -> Blobs | RemoteBlobs:
        if shard not in self._files:
            if len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)
            name = self._table.shards[shard]
            path = self.path / "shards" / f"{name}.bin"
            self._files[shard] = Blobs(path) if self._remote is None else self._remote.open(name)
        self._files.move_to_end(shard)
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}
