"""The videos of a source: files or folders of pictures, in the usual layouts."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tcae.data.stills import StillError, read_still
from tcae.data.video import (
    VIDEO_SUFFIXES,
    VideoError,
    VideoFrame,
    estimated_frames,
    irregular,
    read_frames,
)

log = logging.getLogger(__name__)

PICTURE_SUFFIXES: tuple[str, ...] = (
    *(".avif", ".bmp", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
# Somebody may wonder where these are.
_UNREAD_SUFFIXES = (
    *(".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".heic", ".heif", ".jxl", ".nef", ".psd"),
    *(".rm", ".rmvb", ".svg", ".swf", ".wtv"),
)
# Folders of the distributed archives that are not named after a person.
_CONTAINERS = {"dev", "test", "mp4", "data", "unzippedFaces", "unzippedIntervalFaces"}
_MEANINGLESS = {"1.6"}  # VoxCeleb1's crop size, a level of its own


@dataclass(frozen=True)
class Picture(VideoFrame):
    """A picture that is a file of its own.

    Attributes:
        file: The file.
    """

    file: Path


@dataclass(frozen=True)
class Source:
    """One video: a file, or a folder of pictures. Or pictures that were named one by one.

    Attributes:
        path: The file or folder.
        key: Its path below the folder that was searched. It is its name in the manifest.
        identity: Name of the person in it.
        video: Name of the video, unique in the data set. It includes the identity if a folder is
            named after it.
        clip: Part of the video that the file or folder holds, "" if it holds all of it.
        is_file: Whether it is a video file, or another thing whose frames follow each other in
            time, not pictures.
        stills: The pictures that were named one by one; none for a folder.
    """

    path: Path
    key: str
    identity: str
    video: str
    clip: str
    is_file: bool
    stills: tuple[Path, ...] = field(default=(), kw_only=True)

    @property
    def label(self) -> str:
        """What to call it in messages."""
        more = len(self.stills) - 1
        return f"{self.path} and {more} more" if more > 0 else str(self.path)

    @property
    def name(self) -> str:
        """Name of the video and clip, unique in the data set."""
        return f"{self.video}/{self.clip}" if self.clip else self.video

    def track(self, label: str = "0") -> str:
        """Return the name of a track in this source, unique in the video.

        A folder of pictures is one track, "0", unless landmarks say otherwise.
        """
        if not self.clip or (label == "0" and not self.is_file):
            return self.clip or label
        return f"{self.clip}-{label}"

    def size(self) -> int:
        """Return the bytes of the files or the folder's number of pictures.

        Sources of equal names may differ in it.

        Raises:
            OSError: It cannot be read.
        """
        files = (self.path,) if self.is_file else self.stills
        return sum(file.stat().st_size for file in files) if files else len(_pictures(self.path))

    def pictures(self) -> list[Path]:
        """Return the files of the pictures, a folder's sorted by the numbers in their names.

        Raises:
            OSError: The folder cannot be read.
        """
        return list(self.stills) or [self.path / name for name in _pictures(self.path)]

    def read(self, fps: float | None = None, tone_mapped: bool = False) -> Iterator[VideoFrame]:
        """Yield its frames: those sampled at `fps` of a video file, each `Picture` else.

        The number of a picture is the last number in its name, or its place among the others if the
        names do not number the pictures. Its time is unknown (NaN). HDR is read only if
        `tone_mapped`.

        Raises:
            VideoError: Nothing can be read. After the last good frame: something could not be read.
        """
        if self.is_file:
            yield from read_frames(self.path, fps, threads=1, tone_mapped=tone_mapped)
            return
        failures: list[tuple[Path, str]] = []
        try:
            files = self.pictures()
        except OSError as error:
            raise VideoError(f"{self.path}: {error.strerror}") from error
        numbers = _numbers_in([file.name for file in files]) or range(len(files))
        for number, file in zip(numbers, files, strict=True):
            try:
                yield Picture(number, float("nan"), _read_picture(file, tone_mapped), file)
            except StillError as error:
                failures.append((file, str(error)))
        if failures and len(files) == 1:
            raise VideoError(f"{failures[0][0]}: {failures[0][1]}")
        if failures:
            raise VideoError(
                f"{self.label}: {len(failures)} of {len(files)} pictures are left out, as "
                f"{failures[0][0].name}, which {failures[0][1]}"
            )

    def estimated_frames(self, fps: float | None = None) -> int | None:
        """Return how many frames `read` will probably yield, None if unknown."""
        if self.is_file:
            return estimated_frames(self.path, fps)
        try:
            return len(self.pictures())
        except OSError:  # whoever reads them will say so
            return None


def find_sources(root: Path) -> list[Source]:
    """Return the videos below a path, sorted by key.

    A file is one video, or a picture. Below a folder, videos are `<clip>.mp4` (each of another
    person), `<id>/<clip>.mp4` or `<id>/<video>/<clip>.mp4`, and folders of pictures are `<id>`,
    `<id>/<video>` or `<id>/<video>/<track>`. VoxCeleb's archive folders above these (`dev/mp4`,
    `unzippedFaces`, `1.6` ...) are skipped. Hidden files are ignored.

    Args:
        root: A video file, a picture or a folder.

    Raises:
        ValueError: There is nothing at `root`, or no video, or it is a FIFO, socket or device.
    """
    if root.is_file():
        still = is_picture(root.name)
        stills = (root,) if still else ()
        return [Source(root, root.name, root.stem, root.stem, "", not still, stills=stills)]
    if not root.exists():
        raise ValueError(f"{root}: no such file or folder")
    if not root.is_dir():
        raise ValueError(f"{root}: {irregular(root)}, not a regular file or a folder")
    skipped: list[Path] = []
    found = sorted(_walk(root, skipped), key=lambda source: source.key)
    if skipped:
        log.warning(
            "%s: %d pictures or videos of kinds that are not read, as %s, are skipped",
            *(root, len(skipped), skipped[0]),
        )
    if not found:
        raise ValueError(f"{root}: no video and no folder of pictures in it")
    # Files that differ only in their ending, or have a folder's name, keep the ending.
    count = Counter(source.name for source in found)
    found = [_with_ending(s) if s.is_file and count[s.name] > 1 else s for s in found]
    _check_names(found)
    return found


def join_sources(groups: Iterable[list[Source]]) -> list[Source]:
    """Return the sources of several paths as those of one data set. What is named twice comes once.

    Raises:
        ValueError: Two would have the same name.
    """
    found = {os.path.abspath(source.path): source for group in groups for source in group}
    _check_names(list(found.values()))
    return list(found.values())


def gather_stills(sources: Iterable[Source]) -> list[Source]:
    """Return sources with pictures that were named one after the other gathered to one."""
    gathered = []
    for are_stills, run in groupby(sources, lambda source: bool(source.stills)):
        together = list(run)
        if are_stills:
            files = [file for source in together for file in source.stills]
            together = [replace(together[0], stills=tuple(dict.fromkeys(files)))]
        gathered += together
    return gathered


def find_every_source(paths: Iterable[Path]) -> tuple[list[Source], int]:
    """Return the sources at several paths, and the number of paths without any: a warning each."""
    sources, missing = [], 0
    for path in paths:
        try:
            sources += find_sources(path)
        except ValueError as error:
            log.warning("%s", error)
            missing += 1
    return gather_stills(sources), missing


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders below a path, sorted, each with the sorted names of its files.

    Links are followed, but each folder comes once. Hidden folders and files are left out.
    """
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(folder)
        if real in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        yield Path(folder), sorted(name for name in files if not name.startswith("."))


def is_video(name: str) -> bool:
    """Return whether a file of this name is a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def is_picture(name: str) -> bool:
    """Return whether a file of this name is a picture."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def picture_numbers(folder: Path) -> list[int] | None:
    """Return the last number in each picture's name, or None if two pictures have the same."""
    return _numbers_in(_pictures(folder))


def _walk(root: Path, skipped: list[Path]) -> Iterator[Source]:
    for path, files in walk(root):
        parts = _meaningful(path.relative_to(root).parts)
        skipped += [path / n for n in files if n.lower().endswith(_UNREAD_SUFFIXES)]
        for name in filter(is_video, files):
            yield _video_file(root, path / name, parts)
        if any(map(is_picture, files)):
            yield _picture_folder(root, path, parts)


def _meaningful(parts: tuple[str, ...]) -> tuple[str, ...]:
    while parts and parts[0] in _CONTAINERS:
        parts = parts[1:]
    return tuple(part for part in parts if part not in _MEANINGLESS)


def _video_file(root: Path, path: Path, parts: tuple[str, ...]) -> Source:
    key = path.relative_to(root).as_posix()
    if len(parts) < 2:
        name = "/".join([*parts, path.stem])
        return Source(path, key, parts[0] if parts else path.stem, name, "", True)
    return Source(path, key, parts[0], "/".join(parts), path.stem, True)


def _picture_folder(root: Path, path: Path, parts: tuple[str, ...]) -> Source:
    key = path.relative_to(root).as_posix()
    parts = parts or (path.resolve().name,)
    if len(parts) < 3:
        return Source(path, key, parts[0], "/".join(parts), "", False)
    return Source(path, key, parts[0], "/".join(parts[:-1]), parts[-1], False)


def _with_ending(source: Source) -> Source:
    if source.clip:
        return replace(source, clip=source.path.name)
    video = PurePosixPath(source.video).with_name(source.path.name).as_posix()
    identity = source.path.name if source.identity == source.video else source.identity
    return replace(source, video=video, identity=identity)


def _check_names(sources: list[Source]) -> None:
    first: dict[str, Source] = {}
    for source in sources:
        other = first.setdefault(source.name, source)
        if other is not source:
            raise ValueError(f"{other.path} and {source.path} would both be named {source.name}")


def _pictures(folder: Path) -> list[str]:
    """Names of the pictures in a folder, numbers in them sorted by value."""
    names = [name for name in os.listdir(folder) if is_picture(name) and not name.startswith(".")]
    return sorted(
        names, key=lambda name: [int(s) if s.isdecimal() else s for s in re.split(r"(\d+)", name)]
    )


def _numbers_in(names: list[str]) -> list[int] | None:
    found = [re.findall(r"\d+", name.rpartition(".")[0]) for name in names]
    numbers = [int(digits[-1]) for digits in found if digits]
    return numbers if len(set(numbers)) == len(names) else None


def _read_picture(path: Path, tone_mapped: bool) -> NDArray[np.uint8]:
    try:
        kind = irregular(path)
        content = b"" if kind else path.read_bytes()
    except OSError as error:
        raise StillError(f"cannot be read ({error.strerror})") from None
    if kind is not None:
        raise StillError(f"is {kind}, not a regular file")
    return read_still(content, tone_mapped)
