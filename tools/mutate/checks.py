"""Plant an error in a copy of the sources, compile it, and find out whether a check catches it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mutation import Check, Mutation

from tcae_ops.selftest import agreement
from tcae_ops.selftest.cases import CASES, make_inputs

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/cuda"))  # the tools of the tests

from host import build  # noqa: E402
from host.kernels import KernelError, KernelsOnHost  # noqa: E402

# How the tools that watch kernels begin their reports.
WATCHERS = {
    "AddressSanitizer": r"ERROR: AddressSanitizer: ([\w-]+)",
    "ThreadSanitizer": r"WARNING: ThreadSanitizer: ([\w ]+) \(",
    "UndefinedBehaviorSanitizer": r"runtime error: .*?(misaligned|out of bounds|outside the range)",
    "scheduler": r"block \d+:? (hangs|thread \d+ .*)",
}


class CannotRunError(Exception):
    """Something that a check needs is missing here."""


# What leaves only fp32 of the types that common calls may have. The kernels for others are of the
# same sources, and would take most of the compiler's time.
ONLY_FP32 = [
    ("(image == Dtype::f32 || image == field)", "image == Dtype::f32 && field == Dtype::f32"),
    ("return with_float<float>(s.image.dtype, [&](auto image) {", "return [&](auto image) {"),
    (
        "if constexpr (std::is_same_v<decltype(image), float>) "
        "return with_float<float>(s.flows[0].dtype, with_field);",
        "",
    ),
    ("    });\n  }\n  if (quads)", "    }(float());\n  }\n  if (quads)"),
]


def copy(check: Check, folder: Path) -> Path:
    """Make a copy of the sources that a check runs. Return its folder.

    Raises:
        ValueError: A text to replace does not occur exactly once.
    """
    source = "tcae_ops" if check.kernels == "triton" else "csrc"
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    without_libraries = shutil.ignore_patterns("*.so", "__pycache__")
    for part in (source, "tests") if check.test else (source,):
        shutil.copytree(ROOT / part, tree / part, ignore=without_libraries)
    shutil.copy(ROOT / "pyproject.toml", tree)
    for text, other in ONLY_FP32 if source == "csrc" else ():
        _replace(tree, "csrc/cuda/choice.h", text, other)
    return tree


def plant(mutation: Mutation, folder: Path) -> Path:
    """Do the same with an error planted."""
    tree = copy(mutation.check, folder)
    source = "tcae_ops" if mutation.check.kernels == "triton" else "csrc"
    _replace(tree, f"{source}/{mutation.path}", mutation.text, mutation.replacement)
    return tree


def _replace(tree: Path, path: str, text: str, replacement: str) -> None:
    found = (tree / path).read_text()
    if found.count(text) != 1:
        raise ValueError(
            f"{path} contains {text!r} {found.count(text)} times, but must contain it once"
        )
    (tree / path).write_text(found.replace(text, replacement))


def caught_by(check: Check, tree: Path, folder: Path) -> str | None:
    """Return what caught an error in the kernels of a tree, or None if nothing did.

    Args:
        check: The check to run.
        tree: Contains csrc/, or tcae_ops/ for Triton. For a test of the suite also tests/.
        folder: For compiled parts.

    Raises:
        CannotRunError: The test skips itself here.
    """
    if check.test:
        return _test(check, tree, folder)
    if check.kernels == "triton":
        return _interpret(check, tree)
    parts = folder / "d/kernels_on_host"  # pytest's cache, where tests of the suite look for them
    parts.mkdir(parents=True, exist_ok=True)
    try:
        module = build.build(tree, check.flavour, parts, check.kernels)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"does not compile: {error.stderr[:2000]}") from None
    kernels = KernelsOnHost(module, check.flavour, folder / "log")
    try:
        with pytest.MonkeyPatch.context() as patch:
            kernels.install(patch)
            torch.use_deterministic_algorithms(check.deterministic)
            return _run(check)
    finally:
        torch.use_deterministic_algorithms(False)
        kernels.close()


def _interpret(check: Check, tree: Path) -> str | None:
    """Do the same for kernels in Triton, in their interpreter and another process."""
    arguments = [check.case, check.image, check.layout, *["deterministic"] * check.deterministic]
    command = [sys.executable, str(Path(__file__).with_name("triton_check.py")), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        return "interpreter: " + done.stderr.strip().splitlines()[-1]
    return done.stdout.strip() or None


def _test(check: Check, tree: Path, folder: Path) -> str | None:
    """Do the same with a test of the suite."""
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={folder}", check.test]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode not in (0, 1) or "CalledProcessError" in said:
        raise RuntimeError(f"{check.test} cannot be run: {said[-2000:]}")
    skipped = re.search(r"^SKIPPED .*", said, re.MULTILINE)
    if skipped:
        raise CannotRunError(skipped[0])
    return None if done.returncode == 0 else _who(said, otherwise=check.test.partition("::")[2])


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
        return _who(str(error), otherwise=str(error).partition("\n")[0])
    gradients = {result.gradients[0].numpy().tobytes() for result in results}
    return "other bits in another order" if len(gradients) > 1 else None


def _who(report: str, otherwise: str) -> str:
    for name, pattern in WATCHERS.items():
        found = re.search(pattern, report)
        if found:
            return f"{name}: {found[1]}"
    return otherwise
