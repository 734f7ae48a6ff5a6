"""The house: which part of the package may import which other one, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import tcae

ROOT = Path(tcae.__file__).parent

# From top to bottom: each imports from those below it, never from one above.
STOREYS = (
    "commands",  # tcae/*.py
    "experiments",
    "measuring",
    "methods",
    "training",
    "live",
    "report",
    "editing",
    "evaluation",
    "objectives",
    "models",
    "distributed",
    "cli",
    "data",
    "files",
    "weights",
)


def imports(root: Path) -> dict[str, set[str]]:
    """Of each module below a package's folder the modules of the package that it imports.

    Imports inside functions and those for type checkers count too. The package's own `__init__`,
    its front door, is left out.
    """
    modules = {_name(path, root): path for path in sorted(root.rglob("*.py"))}
    del modules[root.name]
    return {
        name: {found for found in _imported(path, name) if found in modules} - {name}
        for name, path in modules.items()
    }


def storey(module: str, root: str = "tcae") -> str:
    parts = module.removeprefix(f"{root}.").split(".")
    return parts[0] if parts[0] in STOREYS else "commands"


def arrows_up(graph: Mapping[str, set[str]], root: str = "tcae") -> list[str]:
    """Imports from a higher storey, as "lower -> higher"."""
    height = {name: -number for number, name in enumerate(STOREYS)}
    return [
        f"{module} -> {other}"
        for module, others in graph.items()
        for other in sorted(others)
        if height[storey(other, root)] > height[storey(module, root)]
    ]


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one found; empty if none does."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph[module]):
            if found := search(other, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in graph if (found := search(module, []))), [])


def test_every_folder_has_a_storey() -> None:
    folders = {path.parent.relative_to(ROOT).parts[:1] for path in ROOT.rglob("*.py")}
    assert {parts[0] for parts in folders if parts} == set(STOREYS) - {"commands"}


def test_arrows_point_down() -> None:
    assert arrows_up(imports(ROOT)) == []


def test_nothing_imports_in_a_circle() -> None:
    assert cycle(imports(ROOT)) == []


def test_the_operators_know_nothing_of_the_package_above_them() -> None:
    import tcae_ops

    for path in Path(tcae_ops.__file__).parent.rglob("*.py"):
        assert not [name for name in _imported(path, path.name) if name.split(".")[0] == "tcae"]


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({"data/a.py": "from house.models.b import x", "models/b.py": ""}, "arrow"),
        ({"data/a.py": "def f():\n    from house.training import b", "training/b.py": ""}, "arrow"),
        ({"data/a.py": "import house.data.b", "data/b.py": "from house.data import a"}, "cycle"),
        ({"models/a.py": "from house.data.b import x", "data/b.py": ""}, None),
    ],
)
def test_the_check_itself(tmp_path: Path, files: dict[str, str], wrong: str | None) -> None:
    root = tmp_path / "house"
    for name, text in {"__init__.py": "", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    graph = imports(root)
    assert bool(arrows_up(graph, "house")) == (wrong == "arrow")
    assert bool(cycle(graph)) == (wrong == "cycle")


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports by full names only"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
            yield node.module or ""
