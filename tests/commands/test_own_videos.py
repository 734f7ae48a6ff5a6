"""The recipe of docs/own-videos.md for better weights from one's own videos, as it is printed."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import cv2
import pytest

from tcae.data.shards import PackedDataset
from tcae.evaluation.linear_probe import load_probe
from tcae.models.encoder_file import load_encoder

PAGE = Path(__file__).parents[2] / "docs" / "own-videos.md"
# Added to the printed commands, so that they end soon. Pictures stand for videos: rendered faces
# are no work for a face detector.
SHORTER = {
    "pack": "--aligned --image-size 64 --workers 1",
    "synthesize": "--identities 12 --videos 1 --frames 4 --image-size 64 --workers 1",
    "train": "--steps 2 --batch-size 8 --validation.pairs 8 --unseen.people 4 --unseen.pairs 2",
    "finetune": "--steps 2 --batch-size 8 --folds 2",
    "extract": "--aligned",
}


def printed() -> list[list[str]]:
    """The commands of the recipe, each as the words after ``python -m``."""
    block = re.search(r"<!-- own videos -->\n\n```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    words = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert all(line[:2] == ["python", "-m"] for line in words)
    return [line[2:] for line in words]


@pytest.fixture
def folder(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `videos` of 40 people, as pictures, and `clip.mp4`, a folder of them."""
    dataset = PackedDataset(faces)
    for i in range(len(dataset)):
        person, video, _, frame = dataset.name(i).split("/")
        path = tmp_path / "videos" / person / video / f"{frame}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(dataset.read(i), cv2.COLOR_RGB2BGR))
    (tmp_path / "clip.mp4").symlink_to(tmp_path / "videos" / "p000000" / "0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_as_printed(folder: Path) -> None:
    done = []
    for module, *words in printed():
        command = module.removeprefix("tcae.")
        main = importlib.import_module(module).main
        assert main([*words, *SHORTER[command].split(), *_device(command)]) == 0, module
        done.append(command)
    assert done == list(SHORTER)
    summary = json.loads((folder / "runs" / "own" / "summary.json").read_text())
    assert summary["recon_ratio_1"] != summary["recon_ratio_2"]
    start, trained = load_encoder("synthetic-64"), load_encoder(folder / "runs" / "own")
    tuned = load_encoder(folder / "detectors" / "own")
    assert len({e.fingerprint for e in (start, trained, tuned)}) == 3
    load_probe(folder / "detectors" / "own").check_encoder(tuned.fingerprint)
    header, *rows = (folder / "clip.csv").read_text().splitlines()
    assert "AU12_p" in header and len(rows) == 4


def _device(command: str) -> list[str]:
    return [] if command in ("pack", "synthesize") else ["--device", "cpu"]
