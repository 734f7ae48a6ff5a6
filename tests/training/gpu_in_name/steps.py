"""Takes training steps on fake CUDA tensors and prints, as JSON, what each asked of the GPU.

usage: python steps.py DEVICE_LIBRARY

For each kind of training: the number of calls of each operator, where it waited for the GPU or
copied to or from it, and the error that ended it, if any.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TORCH = Path(importlib.util.find_spec("torch").submodule_search_locations[0])
for _library in (_TORCH / "lib/libc10.so", _TORCH / "lib/libtorch_cpu.so", Path(sys.argv[1])):
    ctypes.CDLL(str(_library), mode=ctypes.RTLD_GLOBAL)

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

import tcae  # noqa: E402
from tcae.methods.alexnet import AlexNet  # noqa: E402
from tcae.methods.deforming_ae import DeformingAutoencoder  # noqa: E402
from tcae.methods.drml import Drml  # noqa: E402
from tcae.methods.fab_net import FabNet  # noqa: E402
from tcae.methods.resnet import ResNet  # noqa: E402
from tcae.methods.split_brain import SplitBrain  # noqa: E402
from tcae.methods.training import balanced_losses  # noqa: E402
from tcae.models.encoder import Encoder  # noqa: E402
from tcae.models.twin_cycle import TwinCycle  # noqa: E402
from tcae.objectives.curriculum import Curriculum  # noqa: E402
from tcae.objectives.twin_cycle import TwinCycleObjective  # noqa: E402
from tcae.training import captured_step  # noqa: E402
from tcae.training.captured_step import CapturedStep, CudaGraph  # noqa: E402
from tcae.training.config import PRESETS  # noqa: E402
from tcae.training.device import deterministic  # noqa: E402
from tcae.training.optimizer import Optimizer, OptimizerConfig  # noqa: E402
from tcae.training.step import TrainingStep  # noqa: E402

GPU = torch.device("cuda:0")
SIZE, BATCH, UNITS = 64, 8, 5
WAITS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default"}


class Watch(TorchDispatchMode):
    """Counts operators, and notes where tensors cross to or from the GPU and where it is waited."""

    recording = False  # what is recorded may copy nothing at all between devices

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = str(operator)
        if name.startswith("prim."):  # what fake tensors ask of themselves
            return operator(*args, **(kwargs or {}))
        self.operators[name] += 1
        # torch has no fakes of these; they return nothing
        if name.startswith(("aten._fused_sgd_", "aten._fused_adamw_.tensor_lr")):
            return None
        if name in WAITS:
            self.waits[f"{name} at {_place()}"] += 1
        result = operator(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
        non_blocking = (kwargs or {}).get("non_blocking", name == "aten.copy_.default" and args[2:])
        waits = Watch.recording or not non_blocking
        if len({t.device.type for t in tensors}) > 1 and waits:
            self.waits[f"{name} between devices at {_place()}"] += 1
        return result


def _place() -> str:
    """Return the innermost line of the package, or of this file, that is being run."""
    ours = (str(Path(tcae.__file__).parent), __file__)
    frames = [f for f in traceback.extract_stack() if f.filename.startswith(ours)]
    inner = [f for f in frames if f.name not in ("_place", "__torch_dispatch__")]
    return f"{Path(inner[-1].filename).name}:{inner[-1].name}" if inner else "torch"


def on_gpu(module: nn.Module) -> Any:
    """Replace the parameters and buffers of a module by fake ones on the GPU."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)
                    if fake.ndim == 4:
                        fake = fake.to(memory_format=torch.channels_last)
                    tensors[name] = nn.Parameter(fake) if name in part._parameters else fake
    return module


def images() -> Tensor:
    return torch.empty(BATCH, 3, SIZE, SIZE, dtype=torch.uint8, device=GPU)


class Graph(CudaGraph):
    """Takes the place of a CUDA graph: recording a step takes it, replaying does nothing."""

    def __init__(self, device: torch.device) -> None:
        pass

    def aside(self, run: Callable[[], Any]) -> Any:
        return run()

    def record(self, run: Callable[[], Any]) -> Any:
        Watch.recording = True
        try:
            return run()
        finally:
            Watch.recording = False

    def replay(self) -> None:
        pass


def of_preset(name: str, replays: int | None = None) -> Callable[[], object]:
    """Return a step of a preset; with a number, one of a recorded step after so many replays."""
    config = PRESETS[name]
    # bf16 has other operators, but what it is on by default for is known on hardware only.
    objective = TwinCycleObjective(on_gpu(TwinCycle(Encoder(config.model, SIZE))), config.objective)
    optimizer = Optimizer(objective.parameters(), config.optimizer)
    step: Any = TrainingStep(objective, objective, Curriculum(config.curriculum), optimizer)
    batch = {"source": images(), "target": images(), "failures": torch.zeros(())}
    batch["tracks"] = torch.empty(BATCH, dtype=torch.int64, device=GPU)
    late = config.objective.ramp_start + config.objective.ramp_steps

    def take() -> None:
        step(batch, late, 2 * late + 2)

    if replays is not None:
        step = CapturedStep(step, GPU)
    with Watch():
        for _ in range(1 + (replays or 0)):  # the first one also makes the optimiser's state
            take()
    return take


def of_network(network: nn.Module, losses: Callable[[Any], Tensor]) -> Callable[[], object]:
    network = on_gpu(network)
    optimizer = Optimizer(network.parameters(), OptimizerConfig())

    def step() -> None:
        optimizer.step(losses(network).mean(), 0, 9)

    return step


def self_supervised(build: Callable[[int], Any]) -> Callable[[], object]:
    return of_network(build(SIZE), lambda network: network.losses(images(), images()))


def supervised(build: Callable[[int, int], nn.Module]) -> Callable[[], object]:
    labels = torch.empty(BATCH, UNITS, device=GPU)
    return of_network(
        build(SIZE, UNITS), lambda network: balanced_losses(network, images(), labels, labels)
    )


def planted(compute: Callable[[Tensor], Tensor]) -> Callable[[], object]:
    """Return a step with a fault, to see that it is found."""
    weight = nn.Parameter(torch.empty(BATCH, 3, 8, device=GPU))
    return lambda: compute(weight).sum().backward()


TRAININGS: dict[str, Callable[[], Callable[[], object]]] = {
    "default": lambda: of_preset("default"),
    "paper": lambda: of_preset("paper"),
    "official": lambda: of_preset("official"),
    "default, recorded": lambda: of_preset("default", replays=0),
    "paper, recorded": lambda: of_preset("paper", replays=0),
    "official, recorded": lambda: of_preset("official", replays=0),
    "default, replayed": lambda: of_preset("default", replays=1),
    "fab_net": lambda: self_supervised(FabNet),
    "deforming_ae": lambda: self_supervised(DeformingAutoencoder),
    "split_brain": lambda: self_supervised(SplitBrain),
    "alexnet": lambda: supervised(AlexNet),
    "drml": lambda: supervised(Drml),
    "resnet": lambda: supervised(ResNet),
    "planted: refuses": lambda: planted(lambda w: F.interpolate(w, size=16, mode="linear")),
    "planted: refuses going forward": lambda: planted(lambda w: w.cumsum(2)),
    "planted: waits": lambda: planted(lambda w: w * w.mean().item()),
    "planted: waits for places": lambda: planted(lambda w: w[w > 0]),
    "planted: draws on the CPU": lambda: planted(lambda w: w + torch.randn(8).to(w)),
    "planted: copies while it is recorded": lambda: planted(
        lambda w: Graph(GPU).record(lambda: w + torch.zeros(8).to(GPU, non_blocking=True))
    ),
    "planted: a tensor of the CPU": lambda: planted(lambda w: w + torch.zeros(8)),
}


def main() -> None:
    captured_step.CudaGraph, captured_step._WARM_UP = Graph, 1  # type: ignore[misc]
    captured_step.wait_for = lambda device: None
    found: dict[str, dict[str, object]] = {}
    for name, prepare in TRAININGS.items():
        watch, error = Watch(), None
        with FakeTensorMode(allow_non_fake_inputs=True):
            step = prepare()
            try:
                with deterministic(GPU), watch:
                    step()
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
        found[name] = {"operators": watch.operators, "waits": watch.waits, "error": error}
    print(json.dumps(found))


main()
