"""GFT (Sayette Group Formation Task): 96 subjects in groups of three, occurrence of action units.

There is one table and one video or folder of pictures per subject, and official lists of training
and test subjects. File names vary, so a file belongs to the subject whose name is in its path. The
pattern of the names is an option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tcae.data.au_sets.label_files import (
    Codes,
    FrameLabels,
    read_header,
    read_table,
    unit_columns,
)
from tcae.data.au_sets.numbering import Numbers, frame_offsets
from tcae.data.au_sets.recordings import LabelOptions, log, usable_folds
from tcae.data.au_sets.tree import Place, Tree, one_each
from tcae.data.splits import TRAIN_FOLD

_LIST_BYTES = 100_000  # a larger file is no list of subjects


class Gft:
    """Reads GFT.

    Args:
        options: How to read labels, and the lists of subjects.

    Raises:
        ValueError: The pattern of the subjects' names is no regular expression.
    """

    title = "GFT"
    units: tuple[int, ...] = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
    label_files = "one .csv per subject with columns frame, AU1, AU2 ..."
    frame_places = "one video or folder of pictures per subject"

    def __init__(self, options: LabelOptions) -> None:
        self._codes = Codes(frozenset(options.unknown_codes), highest=1, positive=1)
        self._offset = options.frame_offset
        self._lists = {TRAIN_FOLD: options.gft_train, "test": options.gft_test}
        alone = rf"(?<![0-9A-Za-z])(?:{options.gft_subjects})(?![0-9A-Za-z])"
        try:
            self._pattern = re.compile(alone, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"--gft-subjects {options.gft_subjects!r}: {error}") from None

    def labels(self, tree: Tree) -> dict[str, FrameLabels]:
        """See `AuSet`."""
        found = [
            (subjects[-1], path)
            for path in tree.tables
            if (subjects := self._subjects(tree.name(path))) and unit_columns(read_header(path)[1:])
        ]
        files = one_each(found, "label files")
        return {name: read_table(files[name], self.units, self._codes) for name in files}

    def places(self, tree: Tree) -> dict[str, Place]:
        """See `AuSet`."""
        places = {place.path: place for place in tree.places}
        found = [(s[-1], path) for path in places if (s := self._subjects(tree.name(path)))]
        return {name: places[path] for name, path in one_each(found, "videos").items()}

    def offsets(self, videos: Mapping[str, Numbers]) -> dict[str, int]:
        """See `AuSet`."""
        return frame_offsets(videos, self._offset)

    def folds(self, trees: Sequence[Tree], subjects: Sequence[str]) -> dict[str, str]:
        """See `AuSet`."""
        files = {fold: path or self._list(fold, trees) for fold, path in self._lists.items()}
        if not any(files.values()):
            log.warning(
                "%s: no lists of training and test subjects (--gft-train, --gft-test), so no split",
                trees[0].root,
            )
            return {}
        listed: dict[str, str] = {}
        for fold, path in files.items():
            if path is None:
                raise ValueError(f"{trees[0].root}: no list of {fold} subjects; --gft-{fold}")
            names = self._subjects(path.read_text(encoding="utf-8-sig", errors="replace"))
            if not names:
                raise ValueError(f"{path}: names no subject; --gft-subjects says what names are")
            for name in names:
                if listed.setdefault(name, fold) != fold:
                    raise ValueError(f"{path}: {name} is a {listed[name]} subject too")
        return usable_folds(listed, subjects, self.title)

    def _list(self, fold: str, trees: Sequence[Tree]) -> Path | None:
        """Return the only text file that is named after the fold, if there is one."""
        tables = sorted({path for tree in trees for path in tree.tables})
        named = [path for path in tables if fold in path.stem.lower()]
        found = [path for path in named if path.stat().st_size < _LIST_BYTES]
        if len(found) > 1:
            raise ValueError(f"{found[0]} or {found[1]}? --gft-{fold} names the list")
        return found[0] if found else None

    def _subjects(self, text: str) -> list[str]:
        return [match[0].upper() for match in self._pattern.finditer(text)]
