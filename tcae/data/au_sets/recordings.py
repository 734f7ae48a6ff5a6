"""Labelled videos of a data set: the result of every reader, and what all readers share."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import tyro
from numpy.typing import NDArray

from tcae.data.au_sets.label_files import FrameLabels
from tcae.data.au_sets.numbering import Numbers
from tcae.data.au_sets.tree import Place, Tree
from tcae.data.sources import Source, picture_numbers
from tcae.data.splits import UNUSED_FOLD

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """How to find and read the labels of a data set."""

    labels: Annotated[
        Path | None, tyro.conf.arg(help="Folder of the label files. Default: they are below PATH.")
    ] = None
    unknown_codes: Annotated[
        tuple[int, ...], tyro.conf.arg(help="Numbers that mean unknown in the label files.")
    ] = (9, 99, 999, -9, -99, -999)
    frame_offset: Annotated[
        int | None,
        tyro.conf.arg(
            help="Number of a frame minus number of its label; a video file's frames count from "
            "0. Needed only where the numbers do not show it. Default: found for each video."
        ),
    ] = None
    gft_subjects: Annotated[
        str, tyro.conf.arg(help="GFT: regular expression that finds a subject's name in a path.")
    ] = r"\d+[A-Z]"
    gft_train: Annotated[
        Path | None,
        tyro.conf.arg(
            help="GFT: text file with the training subjects. Default: the one named *train*."
        ),
    ] = None
    gft_test: Annotated[
        Path | None,
        tyro.conf.arg(help="GFT: text file with the test subjects. Default: the one named *test*."),
    ] = None


@dataclass(frozen=True)
class Recording:
    """One video with labels.

    Attributes:
        source: Its frames. The identity is the subject.
        labels: Its labels, numbered like its frames when they are packed.
        pictures: Numbers of its pictures, None for a video file.
    """

    source: Source
    labels: FrameLabels
    pictures: frozenset[int] | None


@dataclass(frozen=True)
class LabelledSet:
    """Labelled videos of a data set.

    Attributes:
        units: Names of the A action units, such as "AU01".
        recordings: The videos, sorted by name.
        folds: The fold of each subject, `TRAIN_FOLD` or `UNUSED_FOLD` among them; {} if the data
            set has no official split.
    """

    units: tuple[str, ...]
    recordings: tuple[Recording, ...]
    folds: dict[str, str]


class AuSet(Protocol):
    """One data set as it is distributed.

    Attributes:
        title: Name of the data set in messages.
        units: The action units that the paper evaluates.
        label_files: Names of its label files, for messages.
        frame_places: Names of its videos or folders of pictures, for messages.
    """

    title: str
    units: tuple[int, ...]
    label_files: str
    frame_places: str

    def labels(self, tree: Tree) -> dict[str, FrameLabels]:
        """Return the labels of each video by its name: the subject, or "subject/part"."""

    def places(self, tree: Tree) -> dict[str, Place]:
        """Return the place of each video's frames, by name."""

    def offsets(self, videos: Mapping[str, Numbers]) -> dict[str, int]:
        """Return the number of a frame minus the number of its label, by video."""

    def folds(self, trees: Sequence[Tree], subjects: Sequence[str]) -> dict[str, str]:
        """Return the folds; see `LabelledSet.folds`."""


def read_set(reader: AuSet, source: Path, labels: Path | None = None) -> LabelledSet:
    """Find the labelled videos of a data set and read their labels.

    Videos without labels and labels without a video are left out, with a warning.

    Args:
        reader: The data set.
        source: Folder of its frames.
        labels: Folder of its label files, None for `source`.

    Raises:
        ValueError: Something is missing or malformed. The message says where it was searched.
        OSError: A file cannot be read.
    """
    tree = Tree(source)
    label_tree = tree if labels is None else Tree(labels)
    tables = reader.labels(label_tree)
    if not tables:
        raise ValueError(_nothing(label_tree, reader, f"label files ({reader.label_files})"))
    places = reader.places(tree)
    if not places:
        raise ValueError(_nothing(tree, reader, f"frames ({reader.frame_places})"))
    names = sorted(tables.keys() & places.keys())
    if not names:
        raise ValueError(
            f"{source}: no {reader.title} video has both: labels are of {_some(tables)}, frames of "
            f"{_some(places)}"
        )
    _tell(tables.keys() - places.keys(), "have labels but no frames")
    _tell(places.keys() - tables.keys(), "have frames but no labels and are not packed")
    recordings = _recordings(reader, tree, {n: (tables[n], places[n]) for n in names})
    subjects = sorted({recording.source.identity for recording in recordings})
    units = tuple(f"AU{unit:02d}" for unit in reader.units)
    trees = [tree] if label_tree is tree else [label_tree, tree]
    return LabelledSet(units, recordings, reader.folds(trees, subjects))


def listed_folds(folds: Sequence[str], subjects: Sequence[str], title: str) -> dict[str, str]:
    """Return the fold of each subject: the number of the list that names it, else `UNUSED_FOLD`.

    Args:
        folds: Names of the subjects in each fold, separated by spaces. The first fold is "1".
        subjects: Subjects of the videos that were found.
        title: Name of the data set, for warnings.
    """
    listed = {name: str(k) for k, names in enumerate(folds, 1) for name in names.split()}
    return usable_folds(listed, subjects, title)


def usable_folds(listed: Mapping[str, str], subjects: Sequence[str], title: str) -> dict[str, str]:
    """Return the fold of each subject found, `UNUSED_FOLD` if not listed. Warn of differences."""
    _tell(listed.keys() - set(subjects), f"of the {title} lists are not there", "subjects")
    _tell(
        set(subjects) - listed.keys(),
        f"are in no {title} list: packed, but neither trained on nor tested by tcae.probe",
        "subjects",
    )
    return {subject: listed.get(subject, UNUSED_FOLD) for subject in subjects}


def _recordings(
    reader: AuSet, tree: Tree, videos: Mapping[str, tuple[FrameLabels, Place]]
) -> tuple[Recording, ...]:
    pictures = {name: _numbers(place) for name, (_, place) in videos.items()}
    numbers = {name: Numbers(labels.frames, pictures[name]) for name, (labels, _) in videos.items()}
    offsets = reader.offsets(numbers)
    recordings = []
    for name, (labels, place) in videos.items():
        key = place.path.relative_to(tree.root).as_posix()
        there = pictures[name]
        recordings.append(
            Recording(
                Source(place.path, key, name.split("/")[0], name, "", place.is_file),
                FrameLabels(labels.frames + offsets[name], labels.values),
                None if there is None else frozenset(there.tolist()),
            )
        )
    if all(r.pictures is not None and r.pictures.isdisjoint(r.labels.frames) for r in recordings):
        first = numbers[recordings[0].source.name]
        assert first.pictures is not None
        raise ValueError(
            f"{tree.root}: no label belongs to a picture; {recordings[0].source.name} has labels "
            f"{first.labels[0]} to {first.labels[-1]} and pictures {first.pictures.min()} to "
            f"{first.pictures.max()}"
        )
    return tuple(recordings)


def _numbers(place: Place) -> NDArray[np.int64] | None:
    if place.is_file:
        return None
    numbers = picture_numbers(place.path)
    if numbers is None:
        raise ValueError(
            f"{place.path}: the last numbers in its pictures' names are not all different, so "
            "labels cannot be matched with pictures"
        )
    return np.array(numbers, np.int64)


def _nothing(tree: Tree, reader: AuSet, what: str) -> str:
    return f"{tree.root}: no {reader.title} {what} in any of the {tree.folders} folders below it"


def _some(names: Mapping[str, object]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _tell(names: set[str], trouble: str, kind: str = "videos") -> None:
    if names:
        log.warning("%d %s %s, as %s", len(names), kind, trouble, min(names))
