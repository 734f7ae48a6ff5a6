from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tcae.data.mixture import read_mixture
from tcae.training.checkpoints import CheckpointFolder
from tcae.training.config import TrainConfig, load_config
from tcae.training.run_directory import find_run, prepare_run
from tcae.training.trainer import Trainer
from tcae.training.validation import Validation


@pytest.fixture
def mixed(tiny: TrainConfig, pack_frames: Callable[..., Path]) -> TrainConfig:
    """The tiny run with half of its pairs from another set of 30 people."""
    other = pack_frames({(f"o{i:02d}", f"v{i}", "0"): 6 for i in range(30)}, name="other")
    return replace(tiny, mix=(f"{other}=0.5",), batch_size=8)


def trainer_of(config: TrainConfig) -> Trainer:
    run, checkpoint = find_run(config)
    assert config.data is not None
    trainer = Trainer(config, read_mixture(config.data, config.mix), run, checkpoint)
    prepare_run(run, config, checkpoint)
    return trainer


def train(config: TrainConfig) -> Path:
    trainer = trainer_of(config)
    assert trainer.fit() == 0
    return trainer.run


def lines(run: Path, kind: str) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def test_both_sets_are_learned_from_and_validated_on(mixed: TrainConfig, monkeypatch) -> None:
    seen: list[int] = []
    learn = Trainer._learn

    def watch(self: Trainer, batch: dict[str, torch.Tensor], waited: float) -> float:
        first = len(self.data.mixture.datasets[0])
        seen.append(int((batch["frames"][:, 0] >= first).sum()))
        return learn(self, batch, waited)

    monkeypatch.setattr(Trainer, "_learn", watch)
    trainer = trainer_of(mixed)
    assert trainer.fit() == 0
    assert seen == [4] * 12
    last = lines(trainer.run, "val")[-1]
    trainer.objective.eval()
    for k, dataset in enumerate(trainer.data.mixture.datasets, 1):
        pairs = Validation(trainer.data.pairs_of(dataset, "val"), 8, trainer.device)
        measured = pairs.measure(trainer.objective)
        for name in ("loss", "recon_ratio"):
            assert last[f"{name}_{k}"] == pytest.approx(measured[name], rel=1e-5)
    assert last["loss"] == pytest.approx((last["loss_1"] + last["loss_2"]) / 2, rel=1e-6)
    assert trainer.summary()["recon_ratio_2"] == last["recon_ratio_2"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_run_goes_on_to_the_same_bits(
    mixed: TrainConfig, assert_same_run: Callable[[Path, Path], None], tmp_path: Path, workers: int
) -> None:
    whole = train(replace(mixed, out=tmp_path / "whole"))
    stopped = trainer_of(replace(mixed, out=tmp_path / "parts", workers=workers))
    step = Trainer._learn

    def interrupt(batch: dict[str, torch.Tensor], waited: float) -> float:
        if stopped.step == 5:
            raise KeyboardInterrupt
        return step(stopped, batch, waited)

    stopped._learn = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    parts = train(replace(mixed, out=tmp_path / "parts", workers=workers, resume="auto"))
    assert_same_run(whole, parts)


def test_other_shares_are_no_resumption(mixed: TrainConfig) -> None:
    run = train(mixed)
    path = mixed.mix[0].partition("=")[0]
    assert load_config(run).mix == mixed.mix
    for mix in ((f"{path}=0.25",), ()):
        with pytest.raises(ValueError, match="or other shares of --mix"):
            trainer_of(replace(mixed, mix=mix, resume="auto"))


def test_a_run_begun_before_mixtures_existed_goes_on(
    tiny: TrainConfig, assert_same_run: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    whole = train(replace(tiny, out=tmp_path / "whole"))
    stopped = train(replace(tiny, out=tmp_path / "old"))
    folder = CheckpointFolder(stopped / "checkpoints", keep=9)
    for path in folder.numbered():
        state = torch.load(path, weights_only=True)
        if state["step"] > 8:
            path.unlink()
        else:
            del state["config"]["mix"]
            torch.save(state, path)
    config = stopped / "config.yaml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("mix:")]
    config.write_text("\n".join(kept))
    assert_same_run(whole, train(replace(tiny, out=tmp_path / "old", resume="auto")))
