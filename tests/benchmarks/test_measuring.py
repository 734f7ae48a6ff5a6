"""The gauges measure what is there, a wrong baseline is refused, and the benchmarks run."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from tcae_ops.selftest.providers import Unavailable, eager, kornia_remap, ours
from tcae_ops.selftest.workloads import (
    ALL_GRADIENTS,
    FLOW_GRADIENTS,
    FORWARD,
    Workload,
    make_problem,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import measuring

    return measuring


def test_extra_memory_is_what_was_in_use_beyond_the_results(measuring):
    size = 8 * 2**20

    def run():
        spare = torch.ones(size // 4)
        return (spare + 1,)

    extra = measuring.extra_bytes(run)
    if extra is None:
        pytest.skip("resident memory can be read on Linux only")
    assert extra == pytest.approx(size, rel=0.01)
    assert measuring.extra_bytes(lambda: (torch.ones(size // 4),)) < 0.01 * size


def test_a_gpu_is_timed_by_its_own_clock(measuring, monkeypatch):
    monkeypatch.setattr(measuring.speed, "time_run", lambda run, device: (run, device.type))
    assert measuring.gpu_clock("run") is None or measuring.DEVICE.type == "cuda"
    monkeypatch.setattr(measuring, "DEVICE", torch.device("cuda"))
    assert measuring.gpu_clock("run") == ("run", "cuda")


def test_work_of_other_processes_is_noticed(measuring, monkeypatch):
    loop = "import time\nend = time.time() + 1\nwhile time.time() < end: pass"
    others = measuring.OtherProcesses()
    subprocess.run([sys.executable, "-c", loop], check=True)
    share = others.share()
    if share is None:
        pytest.skip("only Linux tells what all processes do")
    assert 0.5 / os.cpu_count() < share < 1.05

    # Own work does not count, whatever else goes on: the clock that counts it runs ahead.
    others = measuring.OtherProcesses()
    monkeypatch.setattr(measuring.time, "process_time", lambda: 1e6)
    assert others.share() == 0


def test_distance_from_the_truth(measuring):
    truth = [torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([1.0])]
    found = [torch.tensor([[[[3.0, 4.5]]], [[[9.0, 9.0]]]]), torch.tensor([1.0])]
    assert measuring.compare(found, truth) == (0.5, pytest.approx([0.1, 0.0]))
    with pytest.raises(ValueError):
        measuring.compare(found[:1], truth)


def test_a_wrong_baseline_is_told_from_a_right_one(measuring):
    from benchmarks.conftest import RELATIVE_ERROR

    case = Workload("blend_warp_l1", ALL_GRADIENTS, (2, 3, 64, 64))
    problem = make_problem(case, torch.device("cpu"))
    truth = ours("reference")(case, problem)()
    _, right = measuring.compare(eager(case, problem)(), truth)
    assert max(right) < RELATIVE_ERROR / 5
    for flow in problem.flows:
        flow.data = flow.data.flip(1)  # y before x
    _, wrong = measuring.compare(eager(case, problem)(), truth)
    assert max(wrong) > 5 * RELATIVE_ERROR


def remap(image, x, y, *, padding_mode, align_corners, normalized_coordinates):
    """What kornia documents of its `remap`, for where it is not installed."""
    assert normalized_coordinates and x.shape == y.shape == (len(image), *image.shape[2:])
    return F.grid_sample(
        image, torch.stack([x, y], -1), padding_mode=padding_mode, align_corners=align_corners
    )


@pytest.mark.parametrize("span", [FORWARD, FLOW_GRADIENTS, ALL_GRADIENTS])
def test_kornia_is_a_fair_rival(monkeypatch, span):
    if find_spec("kornia") is None:
        for name in ("kornia", "kornia.geometry", "kornia.geometry.transform"):
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(remap=remap))
    case = Workload("warp", span, (2, 3, 32, 40))
    problem = make_problem(case, torch.device("cpu"))
    found, true = kornia_remap(case, problem)(), ours("reference")(case, problem)()
    torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-4)


def test_without_kornia_it_is_left_out_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.geometry.transform", None)
    case = Workload("warp", FORWARD, (1, 3, 8, 8))
    with pytest.raises(Unavailable, match="kornia is not installed"):
        kornia_remap(case, make_problem(case, torch.device("cpu")))


@pytest.mark.parametrize("option", [[], ["--every-case"]])
def test_the_plain_command_measures_the_main_table(option):
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q", *option]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    large = "test_speed[warp forward 16x3x256x256 smooth-{}]"
    for name in ("tcae_ops", "eager", "F.grid_sample", "kornia", "cv2.remap", "torch.compile"):
        assert large.format(name) in done.stdout
    assert "test_kinds_of_data[warp forward 16x3x256x256 smooth bf16]" in done.stdout
    small = "test_speed[warp forward 1x3x32x32 smooth-torch.compile]"
    for more in (small, "-tcae_ops, ", "test_training_step[", "test_packing[", "test_probe"):
        assert (more in done.stdout) == bool(option), more


def test_every_benchmark_of_small_images_runs():
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-disable", "-q"]
    select = ["-k", "1x3x32x32 and not compile", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *select], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
