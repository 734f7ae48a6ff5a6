"""Run the kernels in a separate process without torch, which sanitizers may end.

    python serve.py MODULE

reads pickled requests from standard input and writes pickled answers to standard output. Tuples
(type, shape, strides in elements, address modulo 16, content) describe arrays. An array without
content is a result: the answer contains it. If the content is shorter than the memory of the array,
it has only the numbers: the memory between them is addressed, but not used.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import pickle
import sys

import numpy as np

RESERVE_NOTHING = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000


def span(memory):
    """Return the number of elements from the first to the last."""
    return 1 + sum((size - 1) * stride for size, stride in zip(memory[1], memory[2], strict=True))


def make_array(memory):
    """Make an array whose memory ends with its last element. Without content it is full of NaN."""
    dtype, shape, strides, lead, content = memory
    size = np.dtype(dtype).itemsize
    far = content is not None and len(content) < span(memory) * size
    if far:
        whole = np.frombuffer(
            mmap.mmap(-1, lead + span(memory) * size, flags=RESERVE_NOTHING), np.uint8
        )
    else:
        whole = np.full(lead + span(memory) * size, 255, np.uint8)
    if content is not None and not far:
        whole[lead:] = np.frombuffer(content, np.uint8)
    strides = [stride * size for stride in strides]
    array = np.lib.stride_tricks.as_strided(whole[lead:].view(dtype), shape, strides)
    if far:
        array[...] = np.frombuffer(content, dtype).reshape(shape)
    return array


def perform(module, request):
    """Call the kernels.

    Returns:
        The contents of the result arrays, in the order of the request, and the launches.
    """
    filled = []

    def convert(value):
        if isinstance(value, list):
            return [convert(item) for item in value]
        if not isinstance(value, tuple):
            return value
        array = make_array(value)
        if value[-1] is None:
            filled.append(np.lib.stride_tricks.as_strided(array, [span(value)], [array.itemsize]))
        return array

    module.set_seed(request["seed"])
    inputs = {name: convert(v) for name, v in request["inputs"].items()}
    arguments = {name: convert(v) for name, v in request["arguments"].items()}
    getattr(module, request["call"])(module.Inputs(**inputs), **arguments)
    return [array.tobytes() for array in filled], module.remembered()


def main(path):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps prints out of the answers
    spec = importlib.util.spec_from_file_location("kernels_on_host", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = *perform(module, request), None
        except RuntimeError as error:
            answer = None, None, str(error)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
