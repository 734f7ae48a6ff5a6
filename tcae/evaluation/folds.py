"""Folds that never share a person: frames of one subject are all in the same fold."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tcae.data.splits import TRAIN_FOLD, UNUSED_FOLD
from tcae.files.csv_text import dict_reader, encoding_hint, open_table

TRAIN_ONLY = -1
"""Fold of people who train every probe and are never tested."""


def subject_folds(subjects: Sequence[str], folds: int = 3, seed: int = 0) -> dict[str, int]:
    """Deal the subjects to folds of about equal size.

    Subjects are sorted by their number of frames and dealt in rounds of one subject per fold. A
    hash of seed and name draws the places within a round. The result thus depends on the number of
    frames of each subject and on the seed, and on nothing else. Folds differ by at most one
    subject, and by no more frames than the largest subject has.

    Args:
        subjects: The subject of every frame, in any order.
        folds: Number of folds, 2 or more.
        seed: Another seed deals another hand.

    Returns:
        The fold, 0 to ``folds - 1``, of each subject.

    Raises:
        ValueError: Fewer than two folds, or fewer subjects than folds.
    """
    frames = Counter(subjects)
    if folds < 2:
        raise ValueError(f"folds: {folds} came, 2 or more are needed")
    if len(frames) < folds:
        raise ValueError(
            f"folds: {folds} folds need as many labelled subjects or more, {len(frames)} came"
        )
    by_size = sorted(frames, key=lambda name: (-frames[name], _draw(name, seed, "rank")))
    fold_of: dict[str, int] = {}
    for start in range(0, len(by_size), folds):
        hand = sorted(by_size[start : start + folds], key=lambda name: _draw(name, seed, "deal"))
        fold_of.update((name, place) for place, name in enumerate(hand))
    return dict(sorted(fold_of.items()))


def held_out_subjects(subjects: Sequence[str], share: float, seed: int = 0) -> list[str]:
    """Draw a share of the subjects, at least one, to be held out of a training.

    Args:
        subjects: The subject of every frame, in any order.
        share: How many of them.
        seed: Another seed draws others.

    Raises:
        ValueError: There are fewer than two subjects.
    """
    names = sorted(set(subjects), key=lambda name: _draw(name, seed, "hold out"))
    if len(names) < 2:
        raise ValueError(f"labels: 2 subjects are needed to hold one out, {len(names)} came")
    return names[: max(round(share * len(names)), 1)]


def chosen_folds(
    option: str | None, beside: Path, subjects: Sequence[str], seed: int = 0
) -> dict[str, int]:
    """Return the folds that an option names.

    Args:
        option: Their number, or a CSV file for `read_folds`; None: the file `beside`, or three if
            there is none.
        beside: The file that may come with the data set.
        subjects: The subject of every labelled frame, in any order.
        seed: Of folds that are dealt.

    Raises:
        ValueError: As `subject_folds` and `read_folds`.
    """
    if option is None and beside.exists():
        return read_folds(beside, subjects)
    if option is None or option.isdecimal():
        return subject_folds(subjects, int(option or 3), seed)
    return read_folds(Path(option), subjects)


def read_folds(path: Path, subjects: Sequence[str]) -> dict[str, int]:
    """Read the folds from a CSV file with the columns ``subject`` and ``fold``.

    Folds may have any names. They are numbered from 0 in the order of their names, numbers before
    words. People in the fold ``train`` train every probe and are never tested (`TRAIN_ONLY`).
    People in the fold ``unused`` take no part. Subjects of the file without labelled frames are
    ignored.

    Args:
        path: The file.
        subjects: The subject of every labelled frame, in any order.

    Returns:
        The fold of each labelled subject who takes part.

    Raises:
        ValueError: A column or a subject is missing, a subject has two folds, or the labelled
            subjects who take part are all in one fold.
        OSError: The file cannot be read.
    """
    with open_table(path) as file:
        reader = dict_reader(file, "subject")
        if not {"subject", "fold"} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path}: columns {', '.join(reader.fieldnames or ('none',))} came, "
                "subject and fold are needed"
            )
        fold_of: dict[str, str] = {}
        for row in reader:
            subject, fold = (row["subject"] or "").strip(), (row["fold"] or "").strip()
            if not subject or not fold:
                raise ValueError(f"{path}: line {reader.line_num} lacks a subject or a fold")
            if fold_of.setdefault(subject, fold) != fold:
                raise ValueError(
                    f"{path}: subject {subject} is in folds {fold_of[subject]} and {fold}"
                )
    needed = sorted(set(subjects))
    missing = [subject for subject in needed if subject not in fold_of]
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} of {len(needed)} labelled subjects have no fold, "
            f"first {missing[0]}{encoding_hint(fold_of)}"
        )
    part = {subject: fold_of[subject] for subject in needed if fold_of[subject] != UNUSED_FOLD}
    if len(set(part.values())) < 2:
        raise ValueError(f"{path}: all labelled subjects are in one fold, 2 or more are needed")
    tested = set(part.values()) - {TRAIN_FOLD}
    names = sorted(tested, key=lambda n: (not n.isdecimal(), n.zfill(12), n))
    number = {TRAIN_FOLD: TRAIN_ONLY, **{name: k for k, name in enumerate(names)}}
    return {subject: number[fold] for subject, fold in part.items()}


def _draw(name: str, seed: int, purpose: str) -> str:
    return hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).hexdigest()
