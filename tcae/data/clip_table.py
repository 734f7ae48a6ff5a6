"""The clips of a data set in a few arrays: a million of them need no Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.shard_files import Clip

Arrays = Mapping[str, NDArray[Any]]


class Names:
    """Strings, one after the other in an array of bytes.

    Args:
        text: (bytes,) uint8, all strings in UTF-8.
        ends: (n,) uint64, where each ends.
    """

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.uint64]) -> None:
        self.text, self.ends = text, ends

    @staticmethod
    def of(strings: Iterable[str]) -> Names:
        """Store strings."""
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        ends = np.cumsum([len(one) for one in encoded], dtype="<u8")
        return Names(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> str:
        k = range(len(self))[i]
        start = int(self.ends[k - 1]) if k else 0
        return self.text[start : int(self.ends[k])].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        text = self.text.tobytes()
        for start, end in pairwise([0, *self.ends.tolist()]):
            yield text[start:end].decode("utf-8", "surrogatepass")


class ClipTable:
    """Clips sorted by identity, video and track, each once.

    Args:
        arrays: See the attributes; `identity_text`, `identity_ends`, `video_text` ... are those of
            the names.

    Attributes:
        identities: Names of the P people.
        person_starts: (P + 1,), the first clip of each, and the number of clips.
        videos: Names of the V videos.
        video_starts: (V + 1,), the first clip of each, and the number of clips.
        tracks: Names that tracks have.
        track_numbers: (C,), which of these each clip has.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.identities, self.videos, self.tracks = (
            Names(arrays[f"{kind}_text"], arrays[f"{kind}_ends"])
            for kind in ("identity", "video", "track")
        )
        self.person_starts, self.video_starts = arrays["person_starts"], arrays["video_starts"]
        self.track_numbers = arrays["track_numbers"]

    @staticmethod
    def of(clips: Sequence[Clip]) -> ClipTable:
        """Store clips that are sorted, each once."""
        person_starts, video_starts = [], []
        for i, clip in enumerate(clips):
            if i == 0 or clip[0] != clips[i - 1][0]:
                person_starts.append(i)
            if i == 0 or clip[:2] != clips[i - 1][:2]:
                video_starts.append(i)
        tracks = {track: k for k, track in enumerate(dict.fromkeys(c.track for c in clips))}
        names = {
            "identity": Names.of(clips[i].identity for i in person_starts),
            "video": Names.of(clips[i].video for i in video_starts),
            "track": Names.of(tracks),
        }
        arrays: dict[str, NDArray[Any]] = {
            "person_starts": np.array([*person_starts, len(clips)], "<u4"),
            "video_starts": np.array([*video_starts, len(clips)], "<u4"),
            "track_numbers": np.array([tracks[c.track] for c in clips], "<u4"),
        }
        for kind, column in names.items():
            arrays |= {f"{kind}_text": column.text, f"{kind}_ends": column.ends}
        return ClipTable(arrays)

    def __len__(self) -> int:
        return len(self.track_numbers)

    def __getitem__(self, i: int) -> Clip:
        k = range(len(self))[i]
        video = int(np.searchsorted(self.video_starts, k, side="right")) - 1
        return Clip(self.identity(k), self.videos[video], self.tracks[int(self.track_numbers[k])])

    def __iter__(self) -> Iterator[Clip]:
        tracks, number = list(self.tracks), iter(self.track_numbers.tolist())
        people = zip(self.person_starts[1:].tolist(), self.identities, strict=True)
        last, identity = 0, ""
        for (start, end), video in zip(
            pairwise(self.video_starts.tolist()), self.videos, strict=True
        ):
            if start == last:
                last, identity = next(people)
            for _ in range(start, end):
                yield Clip(identity, video, tracks[next(number)])

    def identity(self, i: int) -> str:
        """Return the identity of clip `i`."""
        return self.identities[int(np.searchsorted(self.person_starts, i, side="right")) - 1]

    def person_numbers(self) -> NDArray[np.int64]:
        """Return (C,), the person of each clip, an index into `identities`."""
        return _numbers(self.person_starts)

    def video_numbers(self) -> NDArray[np.int64]:
        """Return (C,), the video of each clip, an index into `videos`."""
        return _numbers(self.video_starts)


def _numbers(starts: NDArray[Any]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(starts) - 1), starts[1:] - starts[:-1])
