"""The site of the documentation: it is built as printed, complete, and fit for any window."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tcae
import tcae_ops

pytest.importorskip("sphinx")

ROOT = Path(__file__).parents[1]
OWN = ("tcae", "tcae_ops")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the site, built by the command of CONTRIBUTING.md."""
    out = tmp_path_factory.mktemp("site")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (line,) = re.findall(r"^sphinx-build .*$", text, re.MULTILINE)
    _, *words = shlex.split(line, comments=True)
    assert "-W" in words and words[-1] == "build/site"
    command = [sys.executable, "-m", "sphinx", *words[:-1], str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def entries(site: Path) -> set[str]:
    """The names of the reference, as the site tells them to other sites."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    return {name for name, kind, *_ in map(str.split, lines) if kind.startswith("py:")}


def programs() -> Iterator[str]:
    """What users copy: Python of the pages, the examples, and the notebooks."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        yield from re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)
    for path in (ROOT / "examples").glob("*.py"):
        yield path.read_text()
    for path in (ROOT / "examples/notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                yield "".join(cell["source"])


def used(program: str) -> Iterator[str]:
    """The full names of what a program takes from the packages."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OWN:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in OWN:
            yield ast.unparse(node)


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    public = {
        f"{package.__name__}.{name}" for package in (tcae, tcae_ops) for name in package.__all__
    }
    copied = {name for program in programs() for name in used(program)}
    assert {"tcae.editing.editor.FaceEditor", "tcae.data.synthetic.world.World"} <= copied
    assert (public | copied) - entries(site) == {"tcae_ops.__version__"}


def test_the_root_leads_to_the_start_page(site: Path) -> None:
    (target,) = re.findall(r'url=([\w/.]+)"', (site / "index.html").read_text())
    assert "<h1>tcae" in (site / target).read_text()


def test_pages_load_nothing_from_elsewhere_and_fit_any_window(site: Path, browser: Any) -> None:
    pages = {path for path in site.rglob("*.html") if "_modules" not in path.parts}
    pages.remove(site / "index.html")  # leads away at once
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    for path in sorted(pages):
        page.goto(path.as_uri())
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        pictures = "[...document.images].filter(image => !image.naturalWidth).length"
        assert page.evaluate(pictures) == 0, path
    page.close()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
