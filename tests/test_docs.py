"""The pages of the documentation: their links lead somewhere, the files that they name exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "benchmarks|csrc|docs|examples|tcae|tcae_ops|tests|tools"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Where links and pictures of a page lead, those to other sites left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    return [target for target in found if "://" not in target]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in words}


def broken(page: Path) -> Iterator[str]:
    """The relative links of a page that lead nowhere."""
    for target in links(page.read_text()):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            yield target


def missing(text: str) -> list[str]:
    """The files named in backticks that do not exist; {a,b}, * and NAME stand for others."""
    pattern = rf"`((?:{FOLDERS})/[\w./-]+?)/?`"
    names = [n for n in re.findall(pattern, prose(text)) if not re.search("[A-Z]{4}", Path(n).name)]
    return [name for name in names if not (ROOT / name).exists()]


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    assert missing(page.read_text()) == []


def named_tests(text: str) -> set[str]:
    """The tests that a page names."""
    return set(re.findall(r"`(test_\w+)`", prose(text)))


@each_page
def test_tests_that_are_named_exist(page: Path) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named_tests(page.read_text()) <= set(re.findall(r"def (test_\w+)\(", sources))


def test_every_kind_of_file_names_its_test() -> None:
    text = (ROOT / "docs/data.md").read_text().partition("## What is read")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 20
    assert [row for row in rows if not named_tests(row)] == []


def test_every_page_can_be_reached_from_the_start_page() -> None:
    start = ROOT / "docs/index.md"
    assert "docs/index.md" in links((ROOT / "README.md").read_text())
    reached = {target.partition("#")[0] for target in links(start.read_text())}
    assert {page.name for page in start.parent.glob("*.md")} - {start.name} <= reached


def test_the_readme_is_short_and_its_lines_too() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert max(map(len, lines)) <= 140
    assert len(lines) < 110


def test_the_warp_of_the_readme_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    (block,) = [block for block in blocks if "tcae_ops" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["warped"].shape == (1, 3, 256, 256) and names["warped"].requires_grad


def test_pages_that_docstrings_name_exist() -> None:
    for path in [p for part in ("tcae", "tcae_ops") for p in (ROOT / part).rglob("*.py")]:
        for page, anchor in re.findall(r"(docs/[\w-]+\.md)(?:#([\w-]+))?", path.read_text()):
            assert (ROOT / page).exists(), f"{path}: {page}"
            assert not anchor or anchor in anchors((ROOT / page).read_text()), f"{path}: {anchor}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a](page.md)", ["page.md"]),
        ("[a](#no-heading)", ["#no-heading"]),
        ("# A `b`, c\n[a](#a-b-c) ![p](page.py)", []),
        ("```\n[a](page.md)\n```\n[a](https://example.org/x)", []),
    ],
)
def test_the_check_of_links_itself(tmp_path: Path, text: str, wrong: list[str]) -> None:
    (tmp_path / "page.py").touch()
    (tmp_path / "it.md").write_text(text)
    assert list(broken(tmp_path / "it.md")) == wrong


def test_the_check_of_files_itself() -> None:
    assert missing("`tcae/engine/x.py`, `tcae/models`, `tcae/weights/NAME/`") == [
        "tcae/engine/x.py"
    ]
