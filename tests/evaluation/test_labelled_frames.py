from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tcae.data.labels import unit_number, with_units


@pytest.mark.parametrize("name", ["AU04", "au4", "4", "AU_4", " AU4 "])
def test_numbers_of_units(name):
    assert unit_number(name) == 4


@pytest.mark.parametrize("name", ["smile", "AU", "AU4L", "12a"])
def test_columns_that_are_no_units(name):
    with pytest.raises(ValueError, match="is not called after an action unit"):
        unit_number(name)


def test_units_are_chosen_and_ordered(numbers):
    labels = numbers[1].labels
    turned = with_units(labels, (2, 1))
    assert turned.names == ("AU02", "AU1")
    np.testing.assert_array_equal(turned.values, labels.values[:, ::-1])
    with pytest.raises(ValueError, match="labels: AU 4, 6 is needed and not among AU1, AU02"):
        with_units(labels, (1, 4, 6))


def test_a_part_keeps_rows_together(numbers):
    labelled = numbers[1]
    part = labelled.part(labelled.fold == 2)
    assert set(part.fold) == {2} and len(part.labels.subjects) == len(part.fold) == 80
    assert part.labels.subjects[0] == "S02" and part.units == (1, 2)


def test_other_labels_folds_or_frames_have_another_fingerprint(numbers):
    labelled = numbers[1]
    values = labelled.labels.values.copy()
    values[5, 1] = 1 - np.nan_to_num(values[5, 1])
    others = [
        replace(labelled, fold=labelled.fold[::-1]),
        replace(labelled, labels=replace(labelled.labels, values=values)),
        replace(labelled, labels=replace(labelled.labels, frame_index=np.arange(240) + 1)),
        labelled.part(labelled.fold < 2),
    ]
    assert len({labelled.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert replace(labelled, fold=labelled.fold.copy()).fingerprint == labelled.fingerprint
