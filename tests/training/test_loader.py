"""What a GPU is given and when, told by a GPU that only notes down what it is asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import torch

from tcae.training.loader import _copy_ahead

GPU = torch.device("cuda:1")


class Notes:
    """Stands for torch.cuda, and writes down what happens in which stream."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stream_now = "working"

    def Stream(self, device: torch.device) -> str:
        assert device == GPU
        return "copying"

    def current_stream(self, device: torch.device) -> Any:
        assert device == GPU
        notes = self

        class Working:
            def wait_stream(self, other: str) -> None:
                notes.lines.append(f"working waits for {other}")

        return Working()

    @contextmanager
    def stream(self, stream: str) -> Any:
        before, self.stream_now = self.stream_now, stream
        yield
        self.stream_now = before


class Picture:
    def __init__(self, notes: Notes, name: str) -> None:
        self.notes, self.name = notes, name

    def to(self, device: torch.device, non_blocking: bool) -> Picture:
        assert device == GPU and non_blocking
        self.notes.lines.append(f"{self.notes.stream_now} {self.name}")
        return Picture(self.notes, f"{self.name}'")

    def record_stream(self, stream: Any) -> None:
        self.notes.lines.append(f"{self.name} is used by {type(stream).__name__.lower()}")


def test_a_batch_is_copied_while_the_one_before_is_computed_with() -> None:
    notes = Notes()
    names = ("source", "target", "tracks")
    batches = (
        {name: Picture(notes, f"{name} {i}") for name in names} | {"frames": i} for i in range(3)
    )
    taken = []
    for batch in _copy_ahead(batches, GPU, notes):  # type: ignore[arg-type]
        number = batch["frames"]
        notes.lines.append(f"compute {number}")
        taken.append([batch[name].name for name in names])  # type: ignore[attr-defined]
    assert taken == [[f"{name} {i}'" for name in names] for i in range(3)]
    lines = notes.lines
    for i in range(3):
        copied = [lines.index(f"copying {name} {i}") for name in names]
        used = [lines.index(f"{name} {i}' is used by working") for name in names]
        computed = lines.index(f"compute {i}")
        waited = [n for n, line in enumerate(lines[:computed]) if line.startswith("working waits")]
        assert max(copied) < waited[-1] < computed
        assert max(used) < computed
        if i:
            assert max(copied) < lines.index(f"compute {i - 1}")
        if i > 1:  # one ahead, not all: memory for two batches is enough
            assert min(copied) > lines.index(f"compute {i - 2}")
    # Nobody waits for the copy of the batch after.
    assert lines.index("copying source 1") > lines.index("working waits for copying")


def test_nothing_to_copy() -> None:
    assert list(_copy_ahead(iter([]), GPU, Notes())) == []
