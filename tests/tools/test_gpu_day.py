"""The first day on a GPU, as far as there is none: its plan, its steps' ends, and its report."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tcae_ops.selftest.providers import ours
from tcae_ops.selftest.workloads import (
    ALL_GRADIENTS,
    FLOW_GRADIENTS,
    FORWARD,
    Workload,
    make_problem,
)

TOOL = Path(__file__).parents[2] / "tools/gpu_day"


@pytest.fixture
def tool(modules_of):
    """Function that imports a module of the tool."""
    return modules_of("gpu_day")


@pytest.fixture
def run(tool, tmp_path):
    """Function that runs a program as a step, with so many seconds for it and for all steps."""
    running = tool("running")

    def run(program, limit=60.0, left=60.0, missing=""):
        step = running.Step("a step", [sys.executable, "-c", program], limit, missing=missing)
        return running.run(step, tmp_path, time.monotonic() + left)

    return run


def test_the_last_line_of_a_step_is_its_note(run):
    result = run("print('begins'); print('  3 steps, loss .4  ')")
    assert (result.status, result.note) == ("passed", "3 steps, loss .4")
    assert result.output == "begins\n  3 steps, loss .4"


@pytest.mark.parametrize(
    ("program", "note"),
    [
        ("print('one'); raise SystemExit('two went wrong')", "exit status 1: two went wrong"),
        ("import os; print('here', flush=True); os.kill(os.getpid(), 11)", "exit status -11: here"),
        ("raise SystemExit(3)", "exit status 3: no output"),
    ],
)
def test_a_step_that_fails(run, program, note):
    result = run(program)
    assert (result.status, result.note) == ("FAILED", note)


def test_a_step_that_hangs_is_stopped_with_all_that_it_started(run, tmp_path):
    child = f"import time; time.sleep(4); open({str(tmp_path / 'late')!r}, 'w')"
    program = "import subprocess, sys, time; print('waits', flush=True); "
    program += f"subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    begin = time.monotonic()
    result = run(program, limit=2)
    assert (result.status, result.note) == ("FAILED", "stopped after 2 s: waits")
    assert time.monotonic() - begin < 30
    time.sleep(4)
    assert not (tmp_path / "late").exists()


def test_what_a_step_lacks_and_no_time(run):
    assert run("print(1)", missing="there is no ncu").note == "there is no ncu"
    assert run("print(1)", left=-1).note == "the time was over"
    assert run("print(1)", left=-1).status == "not run"


def test_a_program_that_cannot_be_started(tool, tmp_path):
    running = tool("running")
    step = running.Step("profile", [str(tmp_path / "ncu")], 9)
    result = running.run(step, tmp_path, time.monotonic() + 9)
    assert result.status == "FAILED" and result.note.endswith("ncu: No such file or directory")


def test_the_report_is_whole_after_every_step(tool, tmp_path):
    Result = tool("running").Result
    report = tool("report").Report(tmp_path / "gpu_day.md", rehearsal=False)
    report.add(Result("build", "passed", "it | is built", 3, "a\nb"))
    report.add(Result("profile", "FAILED", "no ncu", 1, "x" * 50_000))
    text = report.path.read_text()
    assert "**1 passed, 1 FAILED, 0 not run; stopped before the end**" in text
    assert "| build | passed | 3 | it / is built |" in text
    assert "## build\n\n````\na\nb\n````" in text
    assert "[38000 characters left out]" in text and len(text) < 13_000
    report.finish()
    assert "stopped before" not in report.path.read_text()
    assert report.failed


def steps(tool, tmp_path, gpus):
    plan = tool("plan")
    return {it.name: it for it in plan.plan(plan.Machine(tmp_path, gpus, "90" if gpus else ""))}


def test_a_machine_with_gpus(tool, tmp_path, monkeypatch):
    for name in ("ncu", "compute-sanitizer"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    two = steps(tool, tmp_path, 2)
    assert not [it.missing for it in two.values() if it.missing]
    assert two["build"].environment["TCAE_OPS_CUDA_ARCHITECTURES"] == "90"
    assert two["racecheck"].command[:3] == ["compute-sanitizer", "--tool", "racecheck"]
    assert two["profile"].command[0] == "ncu"
    assert two["step as a graph"].command[-2].endswith("captured_losses.py")
    assert two["training, paper"].command[-2:] == ["cuda", "paper"]
    assert steps(tool, tmp_path, 1)["two processes"].missing == "there is one GPU"
    (tmp_path / "ncu").unlink()
    assert steps(tool, tmp_path, 1)["profile"].missing == "there is no ncu"


def test_a_rehearsal_takes_every_step_on_the_cpu(tool, tmp_path):
    rehearsed, real = steps(tool, tmp_path, 0), steps(tool, tmp_path, 2)
    assert list(rehearsed) == list(real)
    assert [name for name, it in rehearsed.items() if it.missing] == ["self-test"]
    for step, of_gpu in zip(rehearsed.values(), real.values(), strict=True):
        assert step.limit == 4 * of_gpu.limit
        assert "cuda" not in step.command
        assert step.environment["CUDA_VISIBLE_DEVICES"] == ""


def test_losses_that_are_apart(tool):
    check = tool("training_losses").check
    check([0.00001, 0.04])
    with pytest.raises(AssertionError, match=r"first loss is 2\.0e-04 from the CPU's"):
        check([0.0002, 0.0])
    with pytest.raises(AssertionError, match=r"losses are 6\.0e-02 from"):
        check([0.0, 0.06, 0.01])


@pytest.mark.parametrize("there", [False, True])
def test_kornia_is_measured_where_it_is(tool, monkeypatch, there):
    operators = tool("operators")
    monkeypatch.setattr(operators, "KORNIA", there)
    case = Workload("warp", FORWARD, operators.TINY)
    names = [name for name, _ in operators.providers(case, torch.device("cpu"))]
    assert ("kornia" in names) is there
    assert {"eager", "F.grid_sample"} <= set(names)


def test_without_a_gpu_it_says_so():
    done = subprocess.run(
        [sys.executable, TOOL], capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 2
    assert "torch finds no GPU; --rehearse does without\n" in done.stderr
    assert done.stderr.count("\n") == 1


# Refuses to import what is neither torch, numpy, of the library, nor needed by torch.
ALONE = """
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec

KNOWN = {"torch", "torchgen", "numpy", "triton", "functorch", "tcae", "tcae_ops", "sympy", "mpmath"}
KNOWN |= {"typing_extensions", "networkx", "jinja2", "markupsafe", "filelock", "fsspec"}
KNOWN |= {"packaging", "setuptools", "pkg_resources"}

class Refuses(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target)
        installed = spec is not None and "-packages" in str(spec.origin)
        if installed and name.partition(".")[0] not in KNOWN:
            raise ModuleNotFoundError(name)
        return spec

sys.meta_path[sys.meta_path.index(PathFinder)] = Refuses
"""


def test_the_steps_need_torch_and_numpy_alone():
    trees = [ast.parse(path.read_text()) for path in TOOL.glob("*.py")]
    modules = {
        node.module
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tcae")
    }
    assert {"tcae.training.step", "tcae_ops.selftest.places"} <= modules
    program = ALONE + "\n".join(f"import {it}" for it in sorted(modules))
    subprocess.run([sys.executable, "-c", program], check=True)
    refused = subprocess.run([sys.executable, "-c", ALONE + "import tyro"], capture_output=True)
    assert refused.returncode == 1


@pytest.mark.parametrize("size", [(32, 24), (40, 9)])
@pytest.mark.parametrize("span", [FORWARD, FLOW_GRADIENTS, ALL_GRADIENTS])
def test_the_plain_kernel_is_a_fair_rival(tool, interpreter, size, span):
    """It computes the same, rough flows that leave the image included."""
    case = Workload("warp", span, (2, 3, *size), "rough")
    problem = make_problem(case, torch.device("cpu"))
    with torch.no_grad():
        problem.flows[0].mul_(3)
    found = tool("plain_triton").plain_triton(case, problem)()
    torch.testing.assert_close(found, ours("reference")(case, problem)(), rtol=1e-5, atol=1e-4)
