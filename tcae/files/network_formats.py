"""Networks as files that run without this package: ONNX, and torch's exported programs."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

Run = Callable[[Tensor], dict[str, Tensor]]
"""Passes images (N, 3, S, S) through a network; its outputs by name."""

_DESCRIPTION = "tcae"
"""Where a file holds its description in JSON: the ONNX metadata key, or the .pt2's extra file."""

_IMAGES = "images"
_OPSET = 18


class NetworkFormat(NamedTuple):
    """How networks are written and run; neither needs the code that they were built by."""

    encode: Callable[[ExportedProgram, Mapping[str, Any]], bytes]
    run: Callable[[bytes], Run]
    runtime: str
    packages: tuple[str, ...] = ()


def format_of(path: Path) -> NetworkFormat:
    """Return the format that a file's ending names, if its packages are installed.

    Raises:
        ValueError: Another ending, or a package is missing.
    """
    chosen = FORMATS.get(path.suffix)
    if chosen is None:
        raise ValueError(f"--out {path}: its name must end in {' or '.join(FORMATS)}")
    for package in chosen.packages:
        try:
            importlib.import_module(package)
        except ImportError:
            raise ValueError(
                f"--out {path}: ONNX needs {package}: pip install 'tcae[export]', or use .pt2"
            ) from None
    return chosen


def export_network(network: nn.Module, side: int) -> ExportedProgram:
    """Trace a network, once for every batch size.

    Args:
        network: In evaluation mode; `forward(images)` gives a dict of tensors with a row per image.
        side: Side S of its images (N, 3, S, S), float32.
    """
    with _quiet(), torch.no_grad():  # two images: a size of one would be taken for a constant
        program = torch.export.export(
            network, (torch.zeros(2, 3, side, side),), dynamic_shapes=({0: Dim("N")},)
        )
    program.example_inputs = None  # they would be in the file
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # so would the paths of this machine
    return program


def _to_onnx(program: ExportedProgram, description: Mapping[str, Any]) -> bytes:
    assert program.call_spec.out_spec is not None
    names = list(program.call_spec.out_spec.unflatten(program.graph_signature.user_outputs))
    with _quiet():
        exported = torch.onnx.export(
            program,
            input_names=[_IMAGES],
            output_names=names,
            dynamic_shapes=({0: "N"},),  # what the traced size is called
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")  # notes on how each came about
    model.metadata_props.add(key=_DESCRIPTION, value=json.dumps(description))
    return model.SerializeToString()


def _run_onnx(content: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        outputs = session.run(names, {_IMAGES: images.numpy()})
        return {name: torch.from_numpy(o) for name, o in zip(names, outputs, strict=True)}

    return run


def _to_pt2(program: ExportedProgram, description: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files={_DESCRIPTION: json.dumps(description)})
    return file.getvalue()


def _run_pt2(content: bytes) -> Run:
    with _quiet():
        network = torch.export.load(io.BytesIO(content)).module()
    return lambda images: network(images)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' warnings of what torch does itself and of packages not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


FORMATS: dict[str, NetworkFormat] = {
    ".onnx": NetworkFormat(
        _to_onnx, _run_onnx, "onnxruntime", ("onnx", "onnxscript", "onnxruntime")
    ),
    ".pt2": NetworkFormat(_to_pt2, _run_pt2, "torch.export"),
}
"""By the ending of the file."""
