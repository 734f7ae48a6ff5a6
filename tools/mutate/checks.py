"""Plants an error in a copy of the sources, compiles them and sees whether the check notices."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mutations import Check, Mutation

from tcae_ops.selftest import agreement
from tcae_ops.selftest.cases import CASES, make_inputs

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/cuda"))  # the tests' own tools

from host import build  # noqa: E402
from host.kernels import KernelError, KernelsOnHost  # noqa: E402

# What is said first in the output of whatever watches.
WATCHERS = {
    "AddressSanitizer": r"ERROR: AddressSanitizer: ([\w-]+)",
    "ThreadSanitizer": r"WARNING: ThreadSanitizer: ([\w ]+) \(",
    "UndefinedBehaviorSanitizer": r"runtime error: .*?(misaligned|out of bounds|outside the range)",
    "scheduler": r"block \d+:? (hangs|thread \d+ .*)",
}


def plant(mutation: Mutation, folder: Path) -> Path:
    """A copy of the sources with the error in it.

    Raises:
        ValueError: The text to replace does not occur once.
    """
    source = "tcae_ops" if mutation.check.kernels == "triton" else "csrc"
    path = f"{source}/{mutation.path}"
    text = (ROOT / path).read_text()
    if text.count(mutation.text) != 1:
        raise ValueError(
            f"{path} holds the text of the mutation {mutation.breaks!r} "
            f"{text.count(mutation.text)} times, but must hold it once"
        )
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    without_libraries = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / source, tree / source, ignore=without_libraries)
    (tree / path).write_text(text.replace(mutation.text, mutation.replacement))
    return tree


def caught_by(check: Check, tree: Path, folder: Path) -> str | None:
    """What notices that the kernels of a tree are wrong; None if nothing does.

    Args:
        check: To be run.
        tree: Holds csrc/, or tcae_ops/ for kernels in Triton.
        folder: Where compiled parts are kept.
    """
    if check.kernels == "triton":
        return _interpret(check, tree)
    try:
        module = build.build(tree, check.watched, folder, check.kernels)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"does not compile: {error.stderr[:2000]}") from None
    kernels = KernelsOnHost(module, check.watched, folder / "log")
    try:
        with pytest.MonkeyPatch.context() as patch:
            kernels.install(patch)
            torch.use_deterministic_algorithms(check.deterministic)
            return _run(check)
    finally:
        torch.use_deterministic_algorithms(False)
        kernels.close()


def _interpret(check: Check, tree: Path) -> str | None:
    """The same for kernels in Triton, which its interpreter runs in another process."""
    arguments = [check.case, check.image, check.layout, *["deterministic"] * check.deterministic]
    command = [sys.executable, str(Path(__file__).with_name("interpreted.py")), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        return "interpreter: " + done.stderr.strip().splitlines()[-1]
    return done.stdout.strip() or None


def _run(check: Check) -> str | None:
    case = CASES[check.case]
    inputs = make_inputs(case, getattr(torch, check.image), check.layout, torch.device("cpu"))
    options = {**case.options, "backend": "cpp"}
    try:
        agreement.agree(inputs.all, case.count, inputs.upstream, case.options, "cpp")
        results = [
            agreement.differentiate(inputs.all, case.count, inputs.upstream, options)
            for _ in range(4 if check.deterministic else 0)
        ]
    except agreement.Disagreement as error:
        return "definition: " + str(error).partition(",")[0]
    except KernelError as error:
        return _who(str(error))
    gradients = {result.gradients[0].numpy().tobytes() for result in results}
    return "other bits in another order" if len(gradients) > 1 else None


def _who(report: str) -> str:
    for name, pattern in WATCHERS.items():
        found = re.search(pattern, report)
        if found:
            return f"{name}: {found[1]}"
    return report.splitlines()[0]
