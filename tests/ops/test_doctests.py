"""The examples in the docstrings of both packages run and give the results shown."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules():
    for package in ("tcae_ops", "tcae"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if ">>>" in path.read_text():
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def examples(name):
    finder = doctest.DocTestFinder(exclude_empty=True)
    module = importlib.import_module(name)
    return [test for test in finder.find(module, name) if test.examples]


@pytest.mark.parametrize("name", list(modules()))
def test_examples_of_docstrings(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report = []
    for test in examples(name):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_every_public_operator_has_an_example():
    documented = {
        test.name
        for module in ("warp", "losses", "grids", "backends")
        for test in examples(f"tcae_ops.{module}")
    }
    assert documented >= {
        "tcae_ops.warp.warp",
        "tcae_ops.warp.blend_warp",
        "tcae_ops.losses.warp_l1",
        "tcae_ops.losses.blend_warp_l1",
        "tcae_ops.grids.flow_from_grid",
        "tcae_ops.grids.grid_from_flow",
        "tcae_ops.backends.backend",
    }


def test_examples_of_the_manual():
    """Each example uses the names of those before."""
    text = (ROOT / "docs/operators.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert names["loss"].shape == (2,)
    assert names["animated"].shape == names["warped"].shape == names["image"].shape
