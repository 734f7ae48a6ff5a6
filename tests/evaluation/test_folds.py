from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcae.evaluation.folds import TRAIN_ONLY, read_folds, subject_folds

sizes = st.lists(st.integers(1, 50), min_size=2, max_size=25)


def frames_of(sizes: list[int]) -> list[str]:
    return [f"S{i:03d}" for i, size in enumerate(sizes) for _ in range(size)]


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(2, 6), st.integers(0, 99), st.randoms(use_true_random=False))
def test_folds_are_even_and_independent_of_order(sizes, folds, seed, random):
    if len(sizes) < folds:
        sizes = [*sizes, *[1] * folds]
    subjects = frames_of(sizes)
    dealt = subject_folds(subjects, folds, seed)
    assert set(dealt) == set(subjects) and set(dealt.values()) == set(range(folds))
    people = Counter(dealt.values())
    assert max(people.values()) - min(people.values()) <= 1
    frames = Counter(dealt[s] for s in subjects)
    assert max(frames.values()) - min(frames.values()) <= max(sizes)
    random.shuffle(subjects)
    assert subject_folds(subjects, folds, seed) == dealt


def test_the_seed_matters():
    subjects = frames_of([5] * 12)
    assert len({tuple(subject_folds(subjects, 3, seed).values()) for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("folds", "message"),
    [(1, "folds: 1 came"), (3, "3 folds need as many labelled subjects or more, 2 came")],
)
def test_impossible_folds(folds, message):
    with pytest.raises(ValueError, match=message):
        subject_folds(["a", "a", "b"], folds)


def write(tmp_path, text: str):
    path = tmp_path / "folds.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_folds_from_a_file(tmp_path):
    path = write(tmp_path, "\ufefffold,subject\n10,F001\n2,F002\n2,M001\n10,F001\n3,unlabelled\n")
    assert read_folds(path, ["F001", "M001", "F002", "F001"]) == {"F001": 1, "F002": 0, "M001": 0}


def test_those_who_are_never_tested_and_those_who_take_no_part(tmp_path):
    path = write(tmp_path, "subject,fold\na,train\nb,test\nc,unused\nd,train\n")
    assert read_folds(path, ["a", "b", "c", "d"]) == {"a": TRAIN_ONLY, "b": 0, "d": TRAIN_ONLY}
    path = write(tmp_path, "subject,fold\na,3\nb,train\nc,1\n")
    assert read_folds(path, ["a", "b", "c"]) == {"a": 1, "b": TRAIN_ONLY, "c": 0}
    path = write(tmp_path, "subject,fold\na,train\nb,unused\n")
    with pytest.raises(ValueError, match="all labelled subjects are in one fold"):
        read_folds(path, ["a", "b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns none came, subject and fold are needed"),
        ("name,fold\na,1\n", "columns name, fold came"),
        ("subject,fold\na,1\n", "1 of 2 labelled subjects have no fold, first b"),
        ("subject,fold\na,1\nb,2\na,2\n", "subject a is in folds 1 and 2"),
        ("subject,fold\na,1\nb\n", "line 3 lacks a subject or a fold"),
        ("subject,fold\na,1\nb,1\nc,2\n", "all labelled subjects are in one fold"),
    ],
)
def test_bad_fold_files_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_folds(write(tmp_path, text), ["a", "b"])
    assert "folds.csv" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "subject;fold\na;1\nb;2\n",
        "\ufeffsubject\tfold\r\na\t1\r\n\r\nb\t2\r\n",
        ",subject,fold\n0,a,1\n1,b,2\n",
        '"subject", "fold"\n"a", 1\n b ,"2"\n',
    ],
)
def test_folds_as_programs_write_them(tmp_path, text):
    assert read_folds(write(tmp_path, text), ["a", "b"]) == {"a": 0, "b": 1}


def test_names_of_people_that_are_not_utf_8(tmp_path):
    """The packer names people after folders, byte for byte."""
    (tmp_path / "folds.csv").write_bytes(b"subject,fold\nJos\xe9,1\nann,2\n")
    jose = os.fsdecode(b"Jos\xe9")
    assert read_folds(tmp_path / "folds.csv", [jose, "ann"]) == {jose: 0, "ann": 1}


def test_names_that_differ_in_their_encoding_are_told(tmp_path):
    (tmp_path / "folds.csv").write_bytes(b"subject,fold\nJos\xe9,1\nann,2\n")
    with pytest.raises(ValueError, match="first Jos\u00e9; some of its names are not UTF-8"):
        read_folds(tmp_path / "folds.csv", ["Jos\u00e9", "ann"])
