"""Folds that never share a person: frames of one subject are all in the same fold."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tcae.data.splits import TRAIN_FOLD, UNUSED_FOLD

TRAIN_ONLY = -1
"""Fold of those who are trained on for every other fold, and never tested."""


def subject_folds(subjects: Sequence[str], folds: int = 3, seed: int = 0) -> dict[str, int]:
    """Deals the subjects to folds of about equal size.

    Subjects are sorted by their number of frames and dealt in rounds of one subject per fold, the
    places within a round drawn by a hash of seed and name. So the result depends on nothing but
    who has how many frames, and on the seed; folds differ by at most one subject, and by no more
    frames than the largest subject has.

    Args:
        subjects: the subject of every frame, in any order.
        folds: number of folds, 2 or more.
        seed: another seed deals another hand.

    Returns:
        The fold, 0 to ``folds - 1``, of each subject.

    Raises:
        ValueError: fewer than two folds, or fewer subjects than folds.
    """
    frames = Counter(subjects)
    if folds < 2:
        raise ValueError(f"folds: {folds} came, 2 or more are needed")
    if len(frames) < folds:
        raise ValueError(
            f"folds: {folds} folds need as many labelled subjects or more, {len(frames)} came"
        )
    by_size = sorted(frames, key=lambda name: (-frames[name], _draw(name, seed, "rank")))
    dealt: dict[str, int] = {}
    for start in range(0, len(by_size), folds):
        hand = sorted(by_size[start : start + folds], key=lambda name: _draw(name, seed, "deal"))
        dealt.update((name, place) for place, name in enumerate(hand))
    return dict(sorted(dealt.items()))


def chosen_folds(
    given: str | None, beside: Path, subjects: Sequence[str], seed: int = 0
) -> dict[str, int]:
    """The folds that an option names.

    Args:
        given: their number, or a CSV file for `read_folds`; None: the file `beside`, or three if
            there is none.
        beside: the file that comes with the data set, perhaps.
        subjects: the subject of every labelled frame, in any order.
        seed: of folds that are dealt.

    Raises:
        ValueError: as `subject_folds` and `read_folds`.
    """
    if given is None and beside.exists():
        return read_folds(beside, subjects)
    if given is None or given.isdecimal():
        return subject_folds(subjects, int(given or 3), seed)
    return read_folds(Path(given), subjects)


def read_folds(path: Path, subjects: Sequence[str]) -> dict[str, int]:
    """Reads the folds from a CSV file with the columns ``subject`` and ``fold``.

    Folds may have any names; they are numbered from 0 in the order of their names (numbers before
    words). Who is in the fold ``train`` is trained on and never tested (`TRAIN_ONLY`); who is in
    the fold ``unused`` takes no part. Subjects of the file without labelled frames are ignored.

    Args:
        path: the file.
        subjects: the subject of every labelled frame, in any order.

    Returns:
        The fold of each labelled subject who takes part.

    Raises:
        ValueError: a column or a subject is missing, a subject has two folds, or the labelled
            subjects who take part are all in one fold.
        OSError: the file cannot be read.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"subject", "fold"} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path}: columns {', '.join(reader.fieldnames or ('none',))} came, "
                "subject and fold are needed"
            )
        named: dict[str, str] = {}
        for row in reader:
            subject, fold = (row["subject"] or "").strip(), (row["fold"] or "").strip()
            if not subject or not fold:
                raise ValueError(f"{path}: line {reader.line_num} lacks a subject or a fold")
            if named.setdefault(subject, fold) != fold:
                raise ValueError(
                    f"{path}: subject {subject} is in folds {named[subject]} and {fold}"
                )
    wanted = sorted(set(subjects))
    missing = [subject for subject in wanted if subject not in named]
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} of {len(wanted)} labelled subjects have no fold, "
            f"first {missing[0]}"
        )
    part = {subject: named[subject] for subject in wanted if named[subject] != UNUSED_FOLD}
    if len(set(part.values())) < 2:
        raise ValueError(f"{path}: all labelled subjects are in one fold, 2 or more are needed")
    tested = set(part.values()) - {TRAIN_FOLD}
    names = sorted(tested, key=lambda n: (not n.isdecimal(), n.zfill(12), n))
    number = {TRAIN_FOLD: TRAIN_ONLY, **{name: k for k, name in enumerate(names)}}
    return {subject: number[fold] for subject, fold in part.items()}


def _draw(name: str, seed: int, purpose: str) -> str:
    return hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).hexdigest()
