"""What a method is: how it is made, and how it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from tcae.training.simple_loop import Recipe

Family = Literal["descriptor", "supervised", "self-supervised"]


class Embedder(Protocol):
    """Turns faces into feature vectors."""

    def embed(self, images: Tensor) -> Tensor:
        """Features (N, D), float32, of aligned RGB faces (N, 3, S, S), uint8 or float in [0, 1].

        A network is in evaluation mode when this is called for its features.
        """


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: How commands and files call it.
        title: How tables call it.
        family: Where it stands in the tables. A "descriptor" is ready when it is made. A
            "self-supervised" network has `losses(source, target)`, one value per pair of images,
            and learns from them. A "supervised" one gives logits (N, A) of A action units when it
            is called, and learns those.
        build: Makes it for images of some side and for a number of action units.
        recipe: How its authors train it; None if there is nothing to train here.
    """

    name: str
    title: str
    family: Family
    build: Callable[[int, int], Any]
    recipe: Recipe | None = None
