"""Weights that ship with the package: `NAME/` holds the files, `NAME.md` tells what they are."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def shipped() -> list[str]:
    """Return the names of the weights that ship."""
    return sorted(card.stem for card in FOLDER.glob("*.md") if (FOLDER / card.stem).is_dir())


def find_weights(path: Path | str) -> Path:
    """Return the directory of shipped weights if `path` is their name, else the path itself.

    What lies under that name in the working directory comes first. Nothing is ever downloaded.

    Example:
        >>> find_weights("runs/mine")
        PosixPath('runs/mine')
    """
    path = Path(path)
    return FOLDER / path if str(path) in shipped() and not path.exists() else path
