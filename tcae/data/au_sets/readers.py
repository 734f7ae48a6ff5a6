"""The data sets that can be read, by the names that commands use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tcae.data.au_sets.bp4d import Bp4d
from tcae.data.au_sets.disfa import Disfa
from tcae.data.au_sets.gft import Gft
from tcae.data.au_sets.recordings import AuSet, LabelOptions

SetName = Literal["bp4d", "disfa", "gft"]

READERS: dict[SetName, Callable[[LabelOptions], AuSet]] = {
    "bp4d": Bp4d,
    "disfa": Disfa,
    "gft": Gft,
}
