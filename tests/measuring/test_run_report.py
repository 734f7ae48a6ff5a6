from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tcae.data.shards import PackedDataset
from tcae.measuring.run_report import pairs_of


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("identity", "Pairs of people with other names than those trained on"),
        ("time", "Pairs that were not trained on"),
    ],
)
def test_of_real_people_no_more_is_said_than_is_known(faces: Path, split: str, said: str) -> None:
    config = SimpleNamespace(pairs=SimpleNamespace(split=split))
    mixture = SimpleNamespace(datasets=[PackedDataset(faces)])
    trainer: Any = SimpleNamespace(data=SimpleNamespace(mixture=mixture), config=config)
    assert pairs_of(trainer) == said
