"""Facial action unit representations from unlabelled videos of talking faces."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcae.evaluation.analyse import analyse as analyse
    from tcae.evaluation.linear_probe import load_probe as load_probe
    from tcae.models.align_faces import align_faces as align_faces
    from tcae.models.encoder_file import load_encoder as load_encoder
    from tcae.training.config import TrainConfig as TrainConfig
    from tcae.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

# OpenMP reads it when torch is loaded. A thread waits for the others in a loop, by default for some
# ten milliseconds: where other programs use the cores, it so takes the time that they need.
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# Imported when they are needed: `import tcae` alone does not wait for torch.
_HOMES = {
    "TrainConfig": "tcae.training.config",
    "Trainer": "tcae.training.trainer",
    "align_faces": "tcae.models.align_faces",
    "analyse": "tcae.evaluation.analyse",
    "load_encoder": "tcae.models.encoder_file",
    "load_probe": "tcae.evaluation.linear_probe",
}
__all__ = [*_HOMES]


class _Package(ModuleType):
    """This package. `tcae.analyse` is the function, whoever imports the command of that name."""

    def __getattr__(self, name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        # An import of the module tcae.analyse would set it.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted([*globals(), *__all__])


sys.modules[__name__].__class__ = _Package
