from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def modules_of(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], Callable[[str], ModuleType]]]:
    """Function that takes the name of a tool and returns what imports a module of it by name."""
    names: list[str] = []

    def of(tool: str) -> Callable[[str], ModuleType]:
        monkeypatch.syspath_prepend(TOOLS / tool)
        names.extend(path.stem for path in (TOOLS / tool).glob("*.py"))
        for name in names:  # another tool may have a module of this name
            if name != "__main__":
                monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module

    yield of
    for name in names:
        if name != "__main__":
            sys.modules.pop(name, None)
