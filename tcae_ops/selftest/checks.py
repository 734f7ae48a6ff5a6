"""The checks that every backend must pass that can run here."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from tcae_ops.selftest.agreement import Disagreement, agree, apply, differentiate
from tcae_ops.selftest.cases import CASES, IMAGES, LAYOUTS, Case, Inputs, make_inputs
from tcae_ops.selftest.places import Place

Check = Callable[[Place], str]

# Many blocks and bands, and displacements that make many samples read the same pixels.
CROWDED = Case((2, 3, 90, 110), reach=30.0)
_LATE = 10**8  # clock ticks of a GPU, some 50 ms


class Unable(Exception):
    """A check cannot run here. The message says why."""


class Combination(NamedTuple):
    """A case with an image type and a layout."""

    case: str
    dtype: torch.dtype  # of the image
    layout: str

    @property
    def properties(self) -> list[tuple[str, object]]:
        """What kernels depend on, except sizes and numbers."""
        case = CASES[self.case]
        found = ("flows", case.count), ("flow", case.flow), ("padding", case.padding)
        return [*found, ("units", case.units), ("dtype", self.dtype), ("layout", self.layout)]


def values_and_gradients(place: Place) -> str:
    """Check every case with every image type."""
    return _agree(place, [Combination(*it, "contiguous") for it in product(CASES, IMAGES)])


def layouts(place: Place) -> str:
    """Check some cases with every image type in every memory layout."""
    names = ("twin", "warp", "zeros", "many blended")
    rest = [layout for layout in LAYOUTS if layout != "contiguous"]
    return _agree(place, [Combination(*it) for it in product(names, IMAGES, rest)])


def results_alone(place: Place) -> str:
    """Check the operators that give only the loss or only the warped image, on common calls.

    For these calls the CUDA kernels know which result is wanted when they are compiled.
    """
    if place.backend == "triton":
        raise Unable("it would compile a kernel for each, half a second each")
    names = [
        name
        for name, case in CASES.items()
        if case.padding == "border" and case.shape[1] == 3 and case.count in (0, 2)
    ]
    return _agree(place, [Combination(*it, "channels_last") for it in product(names, IMAGES)], True)


def pairwise(combinations: Iterable[Combination]) -> list[Combination]:
    """Return a subset that contains every case and every possible pair of properties."""
    shows: dict[Combination, set[object]] = {
        it: {it.case, *itertools.combinations(it.properties, 2)} for it in combinations
    }
    missing = set[object]().union(*shows.values())
    chosen = []
    while missing:  # take the one that shows most of them
        chosen.append(max(shows, key=lambda it: len(shows[it] & missing)))
        missing -= shows[chosen[-1]]
    return chosen


def determinism(place: Place) -> str:
    """Check that results repeat bit for bit.

    On a GPU the image's gradient need only do so under ``torch.use_deterministic_algorithms``.
    """
    inputs = make_inputs(CROWDED, torch.float32, "contiguous", place.device)
    runs = []
    with _deterministic():
        for threads in (1, 2, 3) if place.backend == "cpp" else 3 * (torch.get_num_threads(),):
            with _threads(threads):
                runs.append(_results(inputs, place))
    _require_same_bits(runs, "under torch.use_deterministic_algorithms")
    but_image = [_results(inputs, place, but_image=place.device.type == "cuda") for _ in range(5)]
    _require_same_bits(but_image, "as torch is by default")
    return f"{len(runs) + len(but_image)} runs"


def stream_order(place: Place) -> str:
    """Check that operators run in order with other work on torch's current stream."""
    inputs = make_inputs(CROWDED, torch.float32, "contiguous", place.device)
    expected = _results(inputs, place)
    late = _map(inputs, lambda t: torch.full_like(t, torch.nan))
    for busy_on_side in (True, False):
        side = torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(side if busy_on_side else torch.cuda.current_stream()):
            torch.cuda._sleep(_LATE)
        with torch.cuda.stream(side):
            for to, by in zip(_tensors(late), _tensors(inputs), strict=True):
                to.copy_(by)
            got = [t.clone() for t in _results(late, place)]
            for t in _tensors(late):
                t.fill_(torch.nan)
        torch.cuda.synchronize()
        _require_close(got, expected, f"busy stream {'before' if busy_on_side else 'beside'} it")
    return "producers and consumers on a side stream"


def graph_capture(place: Place) -> str:
    """Check a CUDA graph of a forward and a backward pass by replaying it on other numbers."""
    inputs = make_inputs(CROWDED, torch.float32, "contiguous", place.device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # one-time preparation must not be captured
        _results(inputs, place)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = _results(inputs, place)
    for scale in (0.5, 0.25):
        for t in _tensors(inputs):
            t.mul_(scale)
        graph.replay()
        torch.cuda.synchronize()
        _require_close(captured, _results(inputs, place), "replayed")
    return "captured once, replayed twice"


def compilation(place: Place) -> str:
    """Check that ``torch.compile`` makes one graph with the results of eager execution."""
    if place.backend == "reference":
        raise Unable("these are plain torch operators")
    _require_compiler(place.device)
    inputs = make_inputs(CASES["twin"], torch.float32, "contiguous", place.device)
    options = {**CASES["twin"].options, "backend": place.backend}
    torch.compiler.reset()

    def program(*tensors: Tensor) -> Tensor:
        loss, warped = apply(tensors, len(inputs.logits), options)
        return loss.sum() + warped.mean()

    results = []
    for run in (program, torch.compile(program, fullgraph=True)):
        own = [t.detach().clone().requires_grad_() for t in inputs.all]
        value = run(*own)
        results.append([value.detach(), *torch.autograd.grad(value, own)])
    _require_close(results[1], results[0], "compiled")
    return "fullgraph, forward and backward"


ON_ANY_DEVICE: dict[str, Check] = {
    "values and gradients": values_and_gradients,
    "layouts": layouts,
    "results alone": results_alone,
    "determinism": determinism,
    "torch.compile": compilation,
}
ON_GPUS: dict[str, Check] = {"stream order": stream_order, "graph capture": graph_capture}
SLOW = ("torch.compile",)


def of(place: Place) -> dict[str, Check]:
    """Return the checks of a place, by name."""
    return {**ON_ANY_DEVICE, **(ON_GPUS if place.device.type == "cuda" else {})}


def _agree(place: Place, combinations: Sequence[Combination], alone: bool = False) -> str:
    if place.backend == "triton":  # it compiles a kernel for most of them, half a second each
        combinations = pairwise(combinations)
    failures = []
    for name, dtype, layout in combinations:
        case = CASES[name]
        inputs = make_inputs(case, dtype, layout, place.device)
        by_loss, by_warped = inputs.upstream
        wanted = [(by_loss, None), (None, by_warped)] if alone else [(by_loss, by_warped)]
        try:
            for upstream in wanted:
                agree(inputs.all, case.count, upstream, case.options, place.backend)
        except Disagreement as error:
            failures.append(f"{name}, {dtype}, {layout}: {error}")
    if failures:
        raise Disagreement(f"{len(failures)} of {len(combinations)} cases: {failures[0]}")
    return f"{len(combinations)} cases"


def _results(inputs: Inputs, place: Place, *, but_image: bool = False) -> list[Tensor]:
    """Return loss, warped image and gradients, with ``but_image`` all except the image's."""
    options = {**CROWDED.options, "backend": place.backend}
    results = differentiate(inputs.all, len(inputs.logits), inputs.upstream, options)
    gradients = [g for g in results.gradients if g is not None]
    return [*(t.detach() for t in results.found), *gradients[int(but_image) :]]


def _tensors(inputs: Inputs) -> list[Tensor]:
    return [*inputs.all, *inputs.upstream]


def _map(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    def each(tensors: Iterable[Tensor]) -> list[Tensor]:
        return [function(t) for t in tensors]

    image, target = function(inputs.image), function(inputs.target)
    return Inputs(image, each(inputs.flows), each(inputs.logits), target, each(inputs.upstream))


def _require_same_bits(runs: Sequence[Sequence[Tensor]], how: str) -> None:
    for other in runs[1:]:
        for i, (a, b) in enumerate(zip(runs[0], other, strict=True)):
            if not torch.equal(a, b):
                raise Disagreement(f"result {i} has other bits when run again, {how}")


def _require_close(got: Sequence[Tensor], expected: Sequence[Tensor], how: str) -> None:
    """Raise if results differ by more than another order of sums in the image's gradient."""
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        slack = 1e-4 * float(b.abs().max())
        if not torch.allclose(a, b, rtol=0, atol=slack):
            raise Disagreement(f"result {i} is wrong, {how}")


def _require_compiler(device: torch.device) -> None:
    """Raise `Unable` if torch cannot compile anything here, which is not our fault."""
    try:
        torch.compile(lambda x: torch.sin(x) + 1, fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # torch has no common base class for what can go wrong here
        raise Unable(f"torch cannot compile here: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, after its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
