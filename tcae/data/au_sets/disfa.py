"""DISFA: 27 subjects in one video each, intensities of action units in every frame.

Videos are `Videos_LeftCamera/LeftVideoSN001_comp.avi`, or folders of pictures extracted from them.
Labels are `ActionUnit_Labels/SN001/SN001_au1.txt` with lines `frame,intensity`, frames counted from
1. An action unit counts as active from intensity 2 on (paper, section 4.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tcae.data.au_sets.label_files import Codes, FrameLabels, join_units, read_unit
from tcae.data.au_sets.numbering import Numbers, frame_offsets
from tcae.data.au_sets.recordings import LabelOptions, listed_folds
from tcae.data.au_sets.tree import Place, Tree, one_each

FOLDS = (
    "SN001 SN002 SN009 SN010 SN016 SN026 SN027 SN030 SN032",
    "SN006 SN011 SN012 SN013 SN018 SN021 SN024 SN028 SN031",
    "SN003 SN004 SN005 SN007 SN008 SN017 SN023 SN025 SN029",
)
"""Subjects of the three folds of the region-learning papers that the paper compares with."""

_LABELS = re.compile(r"(SN\d{3})_AU_?0*(\d+)", re.IGNORECASE)
_SUBJECT = re.compile(r"SN\d{3}(?!\d)", re.IGNORECASE)


class Disfa:
    """Reads DISFA, of its two cameras the left one.

    Args:
        options: How to read labels.
    """

    title = "DISFA"
    units: tuple[int, ...] = (1, 2, 4, 6, 9, 12, 25, 26)
    label_files = "ActionUnit_Labels/SN001/SN001_au1.txt"
    frame_places = "videos LeftVideoSN001_comp.avi or folders SN001 of pictures"

    def __init__(self, options: LabelOptions) -> None:
        self._codes = Codes(frozenset(options.unknown_codes), highest=5, positive=2)
        self._offset = options.frame_offset

    def labels(self, tree: Tree) -> dict[str, FrameLabels]:
        """See `AuSet`."""
        matches = [(_LABELS.fullmatch(path.stem), path) for path in tree.tables]
        named = [(f"{m[1].upper()} AU {m[2]}", path) for m, path in matches if m]
        files = one_each(named, "label files")
        subjects = sorted({name.split()[0] for name in files})
        return {subject: self._subject(subject, tree, files) for subject in subjects}

    def _subject(self, subject: str, tree: Tree, files: Mapping[str, Path]) -> FrameLabels:
        wanted = [f"{subject} AU {unit}" for unit in self.units]
        missing = [name for name in wanted if name not in files]
        if missing:
            near = next(path.parent for name, path in files.items() if name.startswith(subject))
            raise ValueError(f"{tree.root}: no label file of {missing[0]}; others are in {near}")
        return join_units({files[n]: read_unit(files[n], self._codes) for n in wanted})

    def places(self, tree: Tree) -> dict[str, Place]:
        """See `AuSet`."""
        cameras: dict[bool, list[Place]] = {False: [], True: []}
        for place in tree.places:
            if _SUBJECT.search(tree.name(place.path)):
                below = place.path.relative_to(tree.root).as_posix()
                cameras["right" in below.lower()].append(place)
        places = {place.path: place for place in cameras[False] or cameras[True]}
        found = [(_SUBJECT.findall(tree.name(path))[-1].upper(), path) for path in places]
        return {name: places[path] for name, path in one_each(found, "videos").items()}

    def offsets(self, videos: Mapping[str, Numbers]) -> dict[str, int]:
        """See `AuSet`."""
        return frame_offsets(videos, self._offset)

    def folds(self, trees: Sequence[Tree], subjects: Sequence[str]) -> dict[str, str]:
        """See `AuSet`."""
        return listed_folds(FOLDS, subjects, self.title)
