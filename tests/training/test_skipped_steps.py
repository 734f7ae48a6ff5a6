from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tcae.data.shards import PackedDataset
from tcae.training.skipped_steps import SkippedSteps

BATCH = {
    "source": torch.zeros(4, 3, 2, 2, dtype=torch.uint8),
    "target": torch.ones(4, 3, 2, 2, dtype=torch.uint8),
    "frames": torch.tensor([[0, 1], [4, 5], [8, 9], [12, 13]]),
}


@pytest.fixture
def steps(faces: Path, tmp_path: Path) -> SkippedSteps:
    return SkippedSteps(tmp_path / "dumps", 1, PackedDataset(faces))


def test_only_the_terms_and_pairs_at_fault_are_named(
    steps: SkippedSteps, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rec, cycle = torch.arange(4.0), torch.arange(4.0)
    cycle[2] = torch.inf
    steps.add(7, BATCH, {"rec": rec, "cycle": cycle}, {"model": {"w": torch.ones(1)}})
    dump = tmp_path / "dumps" / "step-00000007.pt"
    [line] = caplog.messages
    assert line == (
        "step 7: not finite: cycle (pairs p000002/0/0/0 > p000002/0/0/1; all about it in "
        f"{dump}); skipped, 1 of at most 1"
    )
    found = torch.load(dump, weights_only=True)
    assert found["step"] == 7
    assert found["pairs"][3] == ["p000003/0/0/0", "p000003/0/0/1"]
    assert torch.equal(found["target"], BATCH["target"])
    assert torch.equal(found["terms"]["cycle"], cycle)
    assert found["model"]["w"] == 1


def test_a_gradient_is_the_fault_of_the_whole_batch(steps: SkippedSteps) -> None:
    steps.allowed = 0
    message = (
        r"^step 7: not finite: the gradient \(pairs p000000/0/0/0 > p000000/0/0/1, .* and 1 more; "
        r"all about it in .*\); stopped after 0 skipped steps$"
    )
    with pytest.raises(FloatingPointError, match=message):
        steps.add(7, BATCH, {"rec": torch.arange(4.0)}, {})


def test_a_full_disk_is_told_with_the_file(steps: SkippedSteps, tmp_path: Path) -> None:
    (tmp_path / "dumps").write_text("in the way")
    with pytest.raises(OSError, match="dumps"):
        steps.add(7, BATCH, {"rec": torch.arange(4.0)}, {})
