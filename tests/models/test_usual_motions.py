from __future__ import annotations

import pytest
import torch

from tcae.files.weight_file import write_weights
from tcae.models.usual_motions import UsualMotions, load_motions, save_motions


@pytest.fixture
def motions() -> UsualMotions:
    torch.manual_seed(0)
    made = UsualMotions(("AU01", "AU12"), 4)
    made.flows = torch.randn(4, 2, 4, 4).half().float()
    return made


def test_rise_and_fall_have_flows_of_their_own(motions):
    flow = motions(torch.tensor([[0.5, 0.0], [0.0, -1.0], [0.25, -0.5]]))
    rise, fall = motions.flows[:2], motions.flows[2:]
    assert torch.allclose(flow[0], 0.5 * rise[0]) and torch.allclose(flow[1], fall[1])
    assert torch.allclose(flow[2], 0.25 * rise[0] + 0.5 * fall[1])


def test_no_change_is_no_motion(motions):
    assert torch.equal(motions(torch.zeros(3, 2)), torch.zeros(3, 2, 4, 4))


def test_the_file_keeps_them(motions, tmp_path):
    path = tmp_path / "motions.safetensors"
    save_motions(path, motions)
    read = load_motions(path)
    assert read.units == motions.units and torch.equal(read.flows, motions.flows)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_motions(tmp_path / "none.safetensors")
    path = tmp_path / "other.safetensors"
    write_weights(path, {"format": "tcae-probe"}, {"flows": torch.zeros(1)})
    with pytest.raises(ValueError, match="need a tcae-motions"):
        load_motions(path)
