"""The optimiser, its learning rate over time, and the precision of a step."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tcae.files.options import Before


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its learning rate."""

    algorithm: Literal["sgd", "adamw"] = "adamw"
    """The optimiser (paper, released code: sgd)."""
    learning_rate: float = 3e-3
    """Size of the updates after the warm-up. Larger: faster learning, until it becomes unstable
    (paper, released code: 0.001)."""
    momentum: float = 0.9
    """Momentum, for sgd only."""
    betas: Annotated[tuple[float, float], Before((0.9, 0.999))] = (0.9, 0.999)
    """Decay of the two running means, for adamw only."""
    weight_decay: float = 1e-4
    """How strongly the weights are pulled towards 0 (paper, released code: 0)."""
    warmup_steps: int = 100
    """Steps in which the learning rate rises linearly from 0 (paper, released code: 0)."""
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    """Learning rate after the warm-up; plateau: it drops when the validation loss stops falling."""
    final_share: float = 0.02
    """Share of the learning rate that is left at the last step. Only for the cosine schedule."""
    plateau_patience: int = 16
    """plateau: validations without a new best, in the last curriculum window, before a drop."""
    plateau_factor: float = 0.1
    """plateau: factor that a drop multiplies the learning rate by."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; a larger gradient is scaled down. 0: off (paper, code: 0)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16: convolutions in bfloat16. auto: bf16 on hardware made for it (paper, code: fp32)."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, it must be above 0")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"plateau_factor is {self.plateau_factor}, it must lie in (0, 1)")
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"final_share is {self.final_share}, it must lie in [0, 1]")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}, both must lie in [0, 1)")
        for name in ("momentum", "weight_decay", "warmup_steps", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must not be negative")
        if self.plateau_patience < 1:
            raise ValueError(f"plateau_patience is {self.plateau_patience}, it must be at least 1")


_SGD = OptimizerConfig(
    algorithm="sgd",
    learning_rate=1e-3,
    weight_decay=0.0,
    warmup_steps=0,
    schedule="constant",
    clip_norm=0.0,
    precision="fp32",
)

OPTIMIZER_PRESETS: dict[str, OptimizerConfig] = {
    "default": OptimizerConfig(),
    "paper": _SGD,
    "official": replace(_SGD, schedule="plateau"),
}
"""The paper's SGD (with the released code's momentum), the released code's SGD, and ours."""


class Update(NamedTuple):
    """The result of a step, on the device. Nothing here waits for a GPU to know it.

    Attributes:
        moved: () bool, whether the weights were updated.
        gradient_norm: (), the length of the whole gradient, before it is clipped.
    """

    moved: Tensor
    gradient_norm: Tensor


class Optimizer:
    """A torch optimiser with a learning rate for each step.

    The learning rate is a pure function of the step and the total number of steps, times a scale
    that only the plateau schedule changes. So a resumed run goes on with exactly the same rates.

    Args:
        parameters: The parameters to train.
        config: The algorithm and the schedule.
        shares: Learning rate of each parameter, as a share of the schedule's. None: 1 for all.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        config: OptimizerConfig,
        shares: Sequence[float] | None = None,
    ) -> None:
        self.config = config
        self._parameters = list(parameters)
        shares = shares or [1.0] * len(self._parameters)
        self._shares = sorted(set(shares))
        of_share = [
            {"params": [p for p, own in zip(self._parameters, shares, strict=True) if own == share]}
            for share in self._shares
        ]
        self._scale = 1.0
        self._best = math.inf
        self._stale = 0
        rate, decay = config.learning_rate, config.weight_decay
        # fused: one pass over the weights takes a quarter of the time, on a CPU too.
        self._torch: torch.optim.Optimizer
        if config.algorithm == "sgd":
            self._torch = torch.optim.SGD(
                of_share, rate, config.momentum, weight_decay=decay, fused=True
            )
            if config.momentum:  # torch would begin with what is not set, should step 0 be skipped
                for parameter in self._parameters:
                    self._torch.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        else:
            self._torch = torch.optim.AdamW(
                of_share, rate, betas=config.betas, weight_decay=decay, fused=True
            )

    def rate(self, step: int, total_steps: int | None) -> float:
        """Return the learning rate of a step.

        Args:
            step: The step, from 0.
            total_steps: The number of steps. None while it is not known; a cosine then has not
                begun to fall.
        """
        config = self.config
        warmup = min((step + 1) / config.warmup_steps, 1.0) if config.warmup_steps else 1.0
        rate = config.learning_rate * warmup * self._scale
        if config.schedule != "cosine" or total_steps is None:
            return rate
        span = max(total_steps - 1 - config.warmup_steps, 1)
        progress = min(max((step - config.warmup_steps) / span, 0.0), 1.0)
        share = config.final_share
        return rate * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * progress)))

    def step(
        self, loss: Tensor, step: int, total_steps: int | None, usable: Tensor | None = None
    ) -> Update:
        """Differentiate the loss and update the weights, unless the gradient is not finite.

        Args:
            loss: ().
            step: The step, from 0.
            total_steps: The number of steps, None while it is not known.
            usable: () bool. If it is false, nothing is updated.
        """
        return self.update(loss, self.rate(step, total_steps), usable)

    def update(self, loss: Tensor, rate: float | Tensor, usable: Tensor | None = None) -> Update:
        """Do what `step` does, at a given learning rate.

        Args:
            loss: ().
            rate: A number, which is rounded to fp32, or () fp32 on the device, which is read there.
            usable: () bool. If it is false, nothing is updated.
        """
        if not isinstance(rate, Tensor):
            rate = float(np.float32(rate))  # so that both kinds give the same bits
        self._torch.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm or math.inf)
        moves = norm.isfinite() if usable is None else norm.isfinite() & usable
        for group, share in zip(self._torch.param_groups, self._shares, strict=True):
            group["lr"] = share * rate
        # Where torch's scaler of gradients tells a fused optimiser to update nothing.
        self._torch.found_inf = (~moves).float()  # type: ignore[attr-defined]
        self._torch.step()
        return Update(moves, norm)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Let a GPU record an update inside the block. torch refuses where it is not told so."""
        groups = [group for group in self._torch.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group in groups:
                group["capturable"] = False

    def observe(self, validation_loss: float, last_window: bool) -> bool:
        """Take note of the loss of one validation, and return whether the learning rate dropped.

        Only the plateau schedule drops it, and only in the curriculum's last window.
        """
        fixed = self.config.schedule != "plateau" or not last_window
        if fixed or not math.isfinite(validation_loss):
            return False
        if validation_loss < self._best:
            self._best, self._stale = validation_loss, 0
            return False
        self._stale += 1
        if self._stale < self.config.plateau_patience:
            return False
        self._scale, self._stale = self._scale * self.config.plateau_factor, 0
        return True

    def state_dict(self) -> dict[str, object]:
        """Return the state of the torch optimiser and of the plateau schedule."""
        plateau = {"scale": self._scale, "best": self._best, "stale": self._stale}
        state = self._torch.state_dict()
        groups = [group | {"lr": float(group["lr"])} for group in state["param_groups"]]
        return {"torch": state | {"param_groups": groups}, "plateau": plateau}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: The state is that of other parameters.
        """
        plateau = state["plateau"]
        assert isinstance(plateau, Mapping)
        self._torch.load_state_dict(state["torch"])  # type: ignore[arg-type]
        self._scale, self._best = float(plateau["scale"]), float(plateau["best"])
        self._stale = int(plateau["stale"])
