"""What an installer gets, and what the package says of itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import tcae
from tcae_ops.version import VERSION

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with the Python files and data of a build, and its metadata; nothing compiled."""
    folder = tmp_path_factory.mktemp("build")
    words = ["egg_info", "--egg-base", str(folder), "build_py", "--build-lib", str(folder)]
    subprocess.run([sys.executable, "setup.py", "-q", *words], cwd=ROOT, check=True)
    return folder


def test_type_checkers_use_the_annotations_of_an_installed_package(built: Path) -> None:
    assert (built / "tcae" / "py.typed").is_file()
    assert not (built / "tcae_ops").exists()  # a distribution of its own: tests/ops/test_alone.py


@pytest.mark.parametrize("hook", ["wheel", "editable"])
def test_the_operators_come_from_the_same_tree(tmp_path: Path, hook: str) -> None:
    for name in ("pyproject.toml", "setup.py", "build_backend.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("tcae_ops/version.py", "tcae/__init__.py"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    code = f"import build_backend as b; b.prepare_metadata_for_build_{hook}('.')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    text = metadata.read_text().replace("tcae-ops", "tcae_ops")
    (found,) = re.findall(r"^Requires-Dist: tcae_ops *(.*)$", text, re.MULTILINE)
    # An editable install takes the one that is installed: pip refuses a tree that it also links to.
    assert found == (f"@ {(tmp_path / 'ops').as_uri()}" if hook == "wheel" else f"=={VERSION}")


def test_what_ships_is_built(built: Path) -> None:
    for folder in ("tcae/weights", "tcae/data/synthetic", "tcae/report/assets"):
        wanted = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted
        assert not {str(path) for path in wanted if not (built / path).is_file()}


def test_the_console_script_is_the_front_door(built: Path) -> None:
    from tcae.__main__ import main

    entries = ConfigParser()
    entries.read(built / "tcae.egg-info" / "entry_points.txt")
    module, _, name = entries["console_scripts"]["tcae"].partition(":")
    assert (module, name) == (main.__module__, main.__name__)


def test_all_say_the_same_version(built: Path) -> None:
    metadata = (built / "tcae.egg-info" / "PKG-INFO").read_text()
    found = re.search(r"^Version: (.*)$", metadata, re.MULTILINE)
    assert found and found[1] == tcae.__version__ == VERSION == citation()["version"]


def citation() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    return found


# Of the schema of the Citation File Format 1.2.0: the fields that are used, and their types.
_TOP = {
    "cff-version": str,
    "message": str,
    "type": str,
    "title": str,
    "abstract": str,
    "authors": list,
    "version": str,
    "license": str,
    "keywords": list,
    "references": list,
}
_REFERENCE = {
    "type": str,
    "title": str,
    "authors": list,
    "collection-title": str,
    "conference": dict,
    "year": int,
    "start": int,
    "end": int,
}
_ENTITY, _PERSON = {"name": str}, {"family-names": str, "given-names": str}


def test_the_citation_fits_its_schema() -> None:
    cited = citation()
    assert {name: type(value) for name, value in cited.items()} == _TOP
    assert (cited["cff-version"], cited["type"], cited["license"]) == (
        "1.2.0",
        "software",
        "Apache-2.0",
    )
    assert cited["authors"] == [{"name": "The tcae developers"}]
    [paper] = cited["references"]
    assert {name: type(value) for name, value in paper.items()} == _REFERENCE
    assert paper["type"] == "conference-paper"
    assert set(paper["conference"]) == set(_ENTITY)
    assert all(set(person) == set(_PERSON) for person in paper["authors"])


def test_the_paper_is_cited_as_it_was_published() -> None:
    [paper] = citation()["references"]
    assert [person["family-names"] for person in paper["authors"]] == ["Li", "Zeng", "Shan", "Chen"]
    assert paper["title"] == (
        "Self-Supervised Representation Learning From Videos for Facial Action Unit Detection"
    )
    assert (paper["year"], paper["start"], paper["end"]) == (2019, 10924, 10933)
