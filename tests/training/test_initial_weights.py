from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tcae import weights
from tcae.measuring.trained import load_trained
from tcae.training.initial_weights import read_initial_weights


def test_weights_that_ship_give_the_decoders_too() -> None:
    model = load_trained("synthetic-64").objective.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    read_initial_weights(Path("synthetic-64")).load_into(model)
    folder, found = weights.FOLDER / "synthetic-64", model.state_dict()
    encoder, decoders = (
        load_file(folder / f"{name}.safetensors") for name in ("encoder", "decoders")
    )
    shipped = decoders | {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    assert found.keys() == shipped.keys()
    assert [name for name in found if not torch.equal(found[name], shipped[name])] == []


def test_without_its_decoders_a_directory_gives_its_encoder(tmp_path: Path) -> None:
    file = weights.FOLDER / "synthetic-64" / "encoder.safetensors"
    (tmp_path / "encoder.safetensors").write_bytes(file.read_bytes())
    found = read_initial_weights(tmp_path)
    assert found.encoder_only and found.weights.keys() == load_file(file).keys()


@pytest.mark.parametrize("name", ["synthetic-46", "nowhere/step.pt"])
def test_what_is_not_there_names_what_would_do(name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_initial_weights(Path(name))
    assert f"--init-from {name}: no such checkpoint" in str(caught.value)
    assert f"weights that ship ({', '.join(weights.shipped())})" in str(caught.value)
