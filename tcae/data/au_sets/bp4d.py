"""BP4D: 41 subjects in eight tasks, occurrence of action units in a part of the frames.

Frames are `<subject>/<T1..T8>/<frame>.jpg`. Labels are `AUCoding/AU_OCC/<subject>_<task>.csv`
(without `AU_OCC` in older releases). A label names its picture by number, whatever the leading
zeros are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tcae.data.au_sets.label_files import Codes, FrameLabels, read_table
from tcae.data.au_sets.numbering import Numbers
from tcae.data.au_sets.recordings import LabelOptions, listed_folds
from tcae.data.au_sets.tree import Place, Tree, one_each

FOLDS = (
    "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014",
    "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018",
    "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015",
)
"""Subjects of the three folds of the region-learning papers that the paper compares with."""

_NAME = r"([FM]\d{3})[_/]T0*([1-8])"
_LABELS = re.compile(r"([FM]\d{3})_T0*([1-8])", re.IGNORECASE)
_FRAMES = re.compile(rf"(?:.*/)?{_NAME}", re.IGNORECASE)
_INTENSITY = re.compile(r"(?:.*[ _-])?int(?:ensit.*|[ _-].*)?", re.IGNORECASE)


class Bp4d:
    """Reads BP4D.

    Args:
        options: How to read labels.
    """

    title = "BP4D"
    units: tuple[int, ...] = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
    label_files = "AUCoding/AU_OCC/F001_T1.csv"
    frame_places = "folders F001/T1 of pictures"

    def __init__(self, options: LabelOptions) -> None:
        self._codes = Codes(frozenset(options.unknown_codes), highest=1, positive=1)
        self._offset = options.frame_offset or 0

    def labels(self, tree: Tree) -> dict[str, FrameLabels]:
        """See `AuSet`."""
        found = []
        for path in tree.tables:
            match = _LABELS.fullmatch(path.stem)
            if match and not _of_intensities(path.relative_to(tree.root)):
                found.append((_video(match), path))
        files = one_each(found, "label files")
        return {name: read_table(files[name], self.units, self._codes) for name in files}

    def places(self, tree: Tree) -> dict[str, Place]:
        """See `AuSet`."""
        folders = [place.path for place in tree.places if not place.is_file]
        matches = [(_FRAMES.fullmatch(tree.name(path)), path) for path in folders]
        found = one_each([(_video(m), path) for m, path in matches if m], "folders of pictures")
        return {name: Place(path, False) for name, path in found.items()}

    def offsets(self, videos: Mapping[str, Numbers]) -> dict[str, int]:
        """See `AuSet`."""
        return dict.fromkeys(videos, self._offset)

    def folds(self, trees: Sequence[Tree], subjects: Sequence[str]) -> dict[str, str]:
        """See `AuSet`."""
        return listed_folds(FOLDS, subjects, self.title)


def _video(match: re.Match[str]) -> str:
    return f"{match[1].upper()}/T{match[2]}"


def _of_intensities(path: Path) -> bool:
    """Return whether a file lies in a folder such as AU_INT: the same names, but other codes."""
    return any(_INTENSITY.fullmatch(part) for part in path.parts[:-1])
