"""Tables with the labels and folds of a packed data set: `labels.csv`, `folds.csv`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcae.data.au_sets.recordings import LabelledSet, Recording
from tcae.data.labels import FOLDS, LABELS
from tcae.data.pack_worker import VideoRow
from tcae.data.shards import PackedDataset
from tcae.files.durable import write_csv

log = logging.getLogger(__name__)


@dataclass
class LabelCounts:
    """Counts of labels and faces that match, and of those that do not.

    Attributes:
        labelled_faces: Packed faces with a label.
        faces_without_label: Packed faces without a label, or with unknown labels only.
        labels_without_frame: Labels whose frame is missing.
        labels_without_face: Labels whose frame has no packed face.
        known: For each unit the number of labelled faces with a known label.
        positive: For each unit the number of labelled faces on which it is active.
    """

    labelled_faces: int = 0
    faces_without_label: int = 0
    labels_without_frame: int = 0
    labels_without_face: int = 0
    known: Counter[str] = field(default_factory=Counter)
    positive: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, float]:
        """Return the counts by flat names, such as `positive_AU12`."""
        numbers = {n: v for n, v in vars(self).items() if not isinstance(v, Counter)}
        for unit, known in self.known.items():
            numbers |= {f"known_{unit}": known, f"positive_{unit}": self.positive[unit]}
        return numbers

    def text(self) -> str:
        """Return the counts as two lines of text."""
        units = (f"{u} {self.positive[u]} of {known}" for u, known in self.known.items())
        return (
            f"{self.labelled_faces} labelled faces, {self.faces_without_label} without a label; "
            f"{self.labels_without_frame} labels without a frame, {self.labels_without_face} "
            f"without a face in it\nactive: {', '.join(units)}"
        )


def write_tables(out: Path, labelled: LabelledSet, rows: Sequence[VideoRow]) -> LabelCounts:
    """Write the label table of a packed data set, and the table of its folds if there are any.

    Frames are named as in `PackedDataset.name`. A frame whose labels are all unknown has no row.

    Args:
        out: The packed data set.
        labelled: The videos that were packed into it, with their labels.
        rows: The outcome of each video.

    Raises:
        ShardError: No face is packed.
        OSError: A table cannot be written.
    """
    counts = LabelCounts(known=Counter(dict.fromkeys(labelled.units, 0)))
    dataset = PackedDataset(out)
    packed = _packed_frames(dataset)
    lines = [
        line
        for recording, row in zip(labelled.recordings, rows, strict=True)
        for line in _label_lines(recording, row, dataset, packed, labelled.units, counts)
    ]
    _tell_lengths(labelled.recordings, rows)
    foreign = packed.keys() - {recording.source.video for recording in labelled.recordings}
    if foreign:
        log.warning(
            "%s: %d packed videos, as %s, are not in SOURCE: their labels are not in %s now",
            *(out, len(foreign), min(foreign), LABELS),
        )
    write_csv(out / LABELS, [["frame", "subject", *labelled.units], *lines])
    if labelled.folds:
        write_csv(out / FOLDS, [("subject", "fold"), *labelled.folds.items()])
    else:
        (out / FOLDS).unlink(missing_ok=True)
    return counts


def _tell_lengths(recordings: Sequence[Recording], rows: Sequence[VideoRow]) -> None:
    """Warn of videos that are not as long as their labels; frames may be missing at the start."""
    odd = [
        (row.video, _length(row), len(recording.labels.frames))
        for recording, row in zip(recordings, rows, strict=True)
        if recording.pictures is None and row.status in ("packed", "no face")
        if _length(row) != len(recording.labels.frames)
    ]
    if odd:
        log.warning(
            "%d videos are not as long as their labels, as %s with %d frames and labels of %d; "
            "do both begin with the same frame?",
            *(len(odd), *odd[0]),
        )


def _length(row: VideoRow) -> int:
    """Return the frames of a video, with those that hold no picture."""
    return row.length or row.frames


def _packed_frames(dataset: PackedDataset) -> dict[str, dict[int, int]]:
    """Return the packed frames of each video: index in the data set by number in the video."""
    videos: dict[str, dict[int, int]] = {}
    for index, (clip, number) in enumerate(dataset.frames[["clip", "frame"]].tolist()):
        videos.setdefault(dataset.clips[clip].video, {})[number] = index
    return videos


def _label_lines(
    recording: Recording,
    row: VideoRow,
    dataset: PackedDataset,
    packed: dict[str, dict[int, int]],
    units: Sequence[str],
    counts: LabelCounts,
) -> Iterator[list[str]]:
    """Return the lines of one video in the label table. Add to the counts."""
    source, faces = recording.source, packed.get(recording.source.video, {})
    pictures = range(_length(row)) if recording.pictures is None else recording.pictures
    labels, labelled = recording.labels, 0
    for number, values in zip(labels.frames.tolist(), labels.values.tolist(), strict=True):
        known = {unit: value for unit, value in zip(units, values, strict=True) if value == value}
        if not known:
            continue
        if number in faces:
            labelled += 1
            counts.known.update(known.keys())
            counts.positive.update({unit: int(value) for unit, value in known.items()})
            cells = [f"{known[unit]:.0f}" if unit in known else "" for unit in units]
            yield [dataset.name(faces[number]), source.identity, *cells]
        elif number in pictures:
            counts.labels_without_face += 1
        else:
            counts.labels_without_frame += 1
    counts.labelled_faces += labelled
    counts.faces_without_label += len(faces) - labelled
