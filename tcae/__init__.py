"""Facial action unit representations from unlabelled videos of talking faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcae.evaluation.linear_probe import load_probe as load_probe
    from tcae.models.encoder_file import load_encoder as load_encoder

__all__ = ["load_encoder", "load_probe"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported when they are needed: `import tcae` alone does not wait for torch.
    if name == "load_encoder":
        from tcae.models.encoder_file import load_encoder

        return load_encoder
    if name == "load_probe":
        from tcae.evaluation.linear_probe import load_probe

        return load_probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
