"""What a training step asks of a GPU, seen without one: a step of each kind on fake tensors.

`gpu_in_name/steps.py` takes the steps. A fake tensor has a shape and says that it is on "cuda", so
torch chooses the operators that it would choose there, and nothing is computed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent / "gpu_in_name"

# By the names in torch's list: the operators that refuse on a GPU if all must be deterministic.
REFUSES = {
    "torch.nn.AvgPool3d": ["avg_pool3d_backward"],
    "torch.nn.AdaptiveAvgPool2d": ["_adaptive_avg_pool2d_backward"],
    "torch.nn.AdaptiveAvgPool3d": ["_adaptive_avg_pool3d_backward"],
    "torch.nn.AdaptiveMaxPool2d": ["adaptive_max_pool2d_backward"],
    "torch.nn.FractionalMaxPool2d": ["fractional_max_pool2d_backward"],
    "torch.nn.FractionalMaxPool3d": ["fractional_max_pool3d_backward"],
    "torch.nn.MaxUnpool1d": ["max_unpool2d"],
    "torch.nn.MaxUnpool2d": ["max_unpool2d"],
    "torch.nn.MaxUnpool3d": ["max_unpool3d"],
    "torch.nn.functional.interpolate": [
        "upsample_linear1d_backward",
        "upsample_bilinear2d_backward",
        "_upsample_bilinear2d_aa_backward",
        "upsample_bicubic2d_backward",
        "_upsample_bicubic2d_aa_backward",
        "upsample_trilinear3d_backward",
    ],
    "torch.nn.ReflectionPad1d": ["reflection_pad1d_backward"],
    "torch.nn.ReflectionPad2d": ["reflection_pad2d_backward"],
    "torch.nn.ReflectionPad3d": ["reflection_pad3d_backward"],
    "torch.nn.NLLLoss": ["nll_loss_forward", "nll_loss2d_forward"],
    "torch.nn.CTCLoss": ["_ctc_loss_backward", "_cudnn_ctc_loss"],
    "torch.nn.EmbeddingBag": ["_embedding_bag_dense_backward"],
    "torch.Tensor.put_": ["put_"],
    "torch.histc": ["histc"],
    "torch.bincount": ["bincount"],
    "torch.median": ["median", "nanmedian"],
    "torch.nn.functional.grid_sample": ["grid_sampler_2d_backward", "grid_sampler_3d_backward"],
    "torch.cumsum": ["cumsum"],
    "torch.Tensor.scatter_reduce": ["scatter_reduce"],
    "torch.Tensor.resize_": [],  # of quantised tensors, which nothing here has
    # Not in the list, as nn.ReplicationPad does without it. Called by name, it refuses.
    "aten.replication_pad_backward": [
        "replication_pad1d_backward",
        "replication_pad2d_backward",
        "replication_pad3d_backward",
    ],
}
KNOWN = {name for names in REFUSES.values() for name in names}

# Operators that a step calls, views included. Starting one takes a GPU's host microseconds.
MOST_CALLS = {"default": 2300, "paper": 1700, "official": 2050}

METHODS = ["fab_net", "deforming_ae", "split_brain", "alexnet", "drml", "resnet"]
RECORDED = [f"{name}, recorded" for name in MOST_CALLS]
TRAININGS = [*MOST_CALLS, *METHODS, *RECORDED]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if torch.backends.cuda.is_built():
        pytest.skip("this torch has real GPUs: tests/gpu")
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    library = tmp_path_factory.mktemp("gpu") / "device.so"
    parts = Path(torch.__file__).parent
    build = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", f"-I{parts / 'include'}"]
    link = [f"-L{parts / 'lib'}", "-lc10", "-ltorch_cpu", "-o", str(library)]
    subprocess.run([*build, str(HERE / "device.cpp"), *link], check=True)
    steps = [sys.executable, str(HERE / "steps.py"), str(library)]
    # Not the interpreter of Triton's kernels that other tests ask for.
    env = os.environ | {"TRITON_INTERPRET": "0", "TCAE_OPS_BACKEND": "triton"}
    output = subprocess.run(steps, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    report: dict[str, Any] = json.loads(output)
    return report


def refusing(operators: dict[str, int]) -> set[str]:
    return {name for name in operators if name.split(".")[1] in KNOWN}


def test_all_that_torch_says_refuses_is_looked_for() -> None:
    text = torch.use_deterministic_algorithms.__doc__ or ""
    listed = text.split("nondeterministic operations will throw a")[1].split("In addition")[0]
    names = set(re.findall(r"\* :(?:class|func):`([\w.]+)`", listed))
    assert len(names) > 15 and names <= REFUSES.keys()


@pytest.mark.parametrize("name", TRAININGS)
def test_a_step_never_refuses_and_never_waits(found: dict[str, Any], name: str) -> None:
    assert found[name]["error"] is None
    assert found[name]["waits"] == {}
    assert refusing(found[name]["operators"]) == set()
    assert sum(found[name]["operators"].values()) > 100


@pytest.mark.parametrize("name", MOST_CALLS)
def test_a_step_starts_no_more_operators_than_it_did(found: dict[str, Any], name: str) -> None:
    assert sum(found[name]["operators"].values()) <= MOST_CALLS[name]


def test_a_replay_starts_a_few_copies_and_nothing_else(found: dict[str, Any]) -> None:
    replay = found["default, replayed"]
    assert replay["error"] is None and replay["waits"] == {}
    copies = {"aten.copy_.default", "aten.lift_fresh.default", "aten._foreach_add.Scalar"}
    assert replay["operators"].keys() <= copies
    assert sum(replay["operators"].values()) <= 7


def test_every_kind_of_training_was_run(found: dict[str, Any]) -> None:
    kinds = {name for name in found if not name.startswith("planted")}
    assert kinds == {*TRAININGS, "default, replayed"}


@pytest.mark.parametrize("name", ["refuses", "refuses going forward"])
def test_an_operator_that_refuses_is_found(found: dict[str, Any], name: str) -> None:
    assert len(refusing(found[f"planted: {name}"]["operators"])) == 1


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("waits", "_local_scalar_dense"),
        ("waits for places", "nonzero"),
        ("draws on the CPU", "_to_copy.default between devices"),
        ("copies while it is recorded", "_to_copy.default between devices"),
        ("a tensor of the CPU", "cuda:0 and cpu"),
    ],
)
def test_a_wait_or_a_wrong_device_is_found(found: dict[str, Any], name: str, sign: str) -> None:
    planted = found[f"planted: {name}"]
    assert sign in " ".join([*planted["waits"], planted["error"] or ""])
