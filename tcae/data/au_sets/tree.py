"""The files of a data set below a folder, in whatever folders they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tcae.data.sources import is_picture, is_video, walk


class Place(NamedTuple):
    """The place of one video's frames: a file, or a folder of pictures."""

    path: Path
    is_file: bool


class Tree:
    """The files below a folder, searched once.

    Args:
        root: The folder.

    Attributes:
        root: That folder.
        tables: Its .csv and .txt files.
        places: Its video files and folders of pictures.
        folders: Number of folders that were searched.

    Raises:
        ValueError: There is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ValueError(f"{root}: no such folder")
        self.root, self.folders = root, 0
        self.tables: list[Path] = []
        self.places: list[Place] = []
        for folder, files in walk(root):
            self.folders += 1
            self.tables += [folder / n for n in files if n.lower().endswith((".csv", ".txt"))]
            self.places += [Place(folder / name, True) for name in files if is_video(name)]
            if any(map(is_picture, files)):
                self.places.append(Place(folder, False))

    def name(self, path: Path) -> str:
        """Return a path from the root's own name on, such as "BP4D/F001/T1", without an ending."""
        below = path.relative_to(self.root)
        parts = (self.root.resolve().name, *below.parent.parts, below.name and self._stem(path))
        return "/".join(part for part in parts if part)

    @staticmethod
    def _stem(path: Path) -> str:
        return path.stem if path.suffix and not path.is_dir() else path.name


def one_each(found: Iterable[tuple[str, Path]], what: str) -> dict[str, Path]:
    """Return paths by name. Each name must have one path only.

    Args:
        found: Names and paths.
        what: The kind of path, for the message.

    Raises:
        ValueError: Two paths have the same name.
    """
    paths: dict[str, Path] = {}
    for name, path in found:
        other = paths.setdefault(name, path)
        if other is not path:
            raise ValueError(
                f"two {what} of {name}: {other} and {path}; SOURCE and --labels may each name "
                "one part of the tree"
            )
    return paths
