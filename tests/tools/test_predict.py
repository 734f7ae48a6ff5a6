"""The prediction: its counts against counts by hand, and the table in the docs against the tool."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from tcae_ops.selftest.workloads import ALL_GRADIENTS, FLOW_GRADIENTS, FORWARD, Workload

ROOT = Path(__file__).parents[2]
SHAPE = (2, 3, 16, 8)
LOGIT = 4 * 2 * 16 * 8  # bytes in all of it
FLOW, IMAGE, GRID, LOSS = 2 * LOGIT, 3 * LOGIT, LOGIT, 4 * 2  # one grid serves both samples


@pytest.fixture
def tool(monkeypatch):
    """Function that imports a module of the tool."""
    monkeypatch.syspath_prepend(ROOT / "tools/predict")
    spec = importlib.util.spec_from_file_location("predict", ROOT / "tools/predict/__main__.py")
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    yield lambda name: main if name == "predict" else sys.modules[name]
    for name in ("memory_traffic", "instruction_count"):
        sys.modules.pop(name)


@pytest.fixture
def counting(tool):
    """The module that counts instructions, if nvcc and cuobjdump are here."""
    module = tool("instruction_count")
    try:
        module._cuobjdump()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return module


SAMPLED = (GRID + FLOW + FLOW) + (IMAGE + FLOW + IMAGE)  # first the grid, then the image
BLENDED = 3 * LOGIT + 2 * LOGIT + (3 * FLOW + LOGIT)  # difference, sigmoid, lerp
COMPARED = 3 * IMAGE + 2 * IMAGE + IMAGE + LOSS  # difference, absolute value, mean
BY_COMPARED = (LOSS + IMAGE) + 2 * IMAGE + 3 * IMAGE  # divided, sign, product
BY_GRID = 2 * IMAGE + 2 * FLOW
# The derivatives by the second flow, by the weight (fill, subtract, product), by the first flow,
# by the weight, by the logits.
BY_BLEND = (2 * FLOW + LOGIT) + LOGIT + 3 * LOGIT + (2 * FLOW + LOGIT)
BY_BLEND += 3 * FLOW + 3 * FLOW + (FLOW + LOGIT) + 3 * LOGIT + 2 * LOGIT


@pytest.mark.parametrize(
    ("op", "span", "expected"),
    [
        ("warp", FORWARD, SAMPLED),
        ("warp", FLOW_GRADIENTS, SAMPLED + BY_GRID),
        ("warp", ALL_GRADIENTS, SAMPLED + BY_GRID + IMAGE),
        ("warp_l1", FORWARD, SAMPLED + COMPARED),
        ("blend_warp", FORWARD, BLENDED + SAMPLED),
        (
            "blend_warp_l1",
            FLOW_GRADIENTS,
            BLENDED + SAMPLED + COMPARED + BY_COMPARED + BY_GRID + BY_BLEND,
        ),
    ],
)
def test_bytes_of_the_composition(tool, op, span, expected):
    assert tool("memory_traffic").eager_bytes(Workload(op, span, SHAPE)) == expected


def test_bytes_of_ours(tool):
    ours = tool("memory_traffic").our_bytes
    assert ours(Workload("warp", FORWARD, SHAPE)) == IMAGE + FLOW + IMAGE
    flows = 2 * (FLOW + LOGIT)
    forward = IMAGE + flows + IMAGE + LOSS
    backward = LOSS + IMAGE + flows + IMAGE + flows
    assert ours(Workload("blend_warp_l1", FLOW_GRADIENTS, SHAPE)) == forward + backward
    every = ours(Workload("blend_warp_l1", ALL_GRADIENTS, SHAPE))
    assert every == forward + backward + IMAGE + IMAGE  # zeros first


LISTING = """
    /*0000*/                   MOV R1, c[0x0][0x28] ;
    /*0010*/              @!P0 BRA 0x40 ;
    /*0020*/                   CALL.REL.NOINC 0xc0 ;
    /*0030*/                   MOV R2, R1 ;
    /*0040*/                   LDG.E.64 R2, desc[UR4][R2.64] ;
    /*0050*/               @P1 BRA 0x40 ;
    /*0060*/              @!P2 BRA 0x80 ;
    /*0070*/                   FADD R1, R1, R2 ;
    /*0080*/               @P3 EXIT ;
    /*0090*/                   BRA 0xb0 ;
    /*00a0*/                   FMUL R1, R1, R2 ;
    /*00b0*/                   EXIT ;
    /*00c0*/                   RET.REL.NODEC R10 0x0 ;
    /*00d0*/                   BRA 0xd0;
"""


def test_the_path_through_a_listing(tool):
    """Past the slow division, three times through the loop, into the branch, past the jump."""
    counting = tool("instruction_count")
    names = counting.walk(counting.parse(LISTING), [3])
    loop = ["LDG.E.64", "BRA"]
    assert names == ["MOV", "BRA", *loop, *loop, *loop, "BRA", "FADD", "EXIT", "BRA", "EXIT"]
    with pytest.raises(ValueError, match="fewer than 2 loops"):
        counting.walk(counting.parse(LISTING), [3, 2])
    with pytest.raises(ValueError, match="more than 0 loops"):
        counting.walk(counting.parse(LISTING), [])


def test_times_are_the_larger_of_both_bounds(tool, monkeypatch):
    predict = tool("predict")
    monkeypatch.setattr(predict, "our_bytes", lambda workload: 3_350_000)  # a microsecond
    monkeypatch.setattr(predict, "eager_bytes", lambda workload: 13_400_000)
    # 256 pixels x 261718.75 = 67e6 instructions: 2 microseconds at 33.5e12 in a second.
    monkeypatch.setattr(predict, "instructions_of", lambda workload: 261_718.75)
    cells = predict.row(Workload("warp", FORWARD, SHAPE))
    assert cells == [
        *("`warp` forward", "3.4", "261719", "1.0", "2.0", "**2.0**", "13.4", "4.0", "2.0x")
    ]


PIXELS_READ = {"LDG.E.U16.CONSTANT": 4 * 4 * 3}  # of three channels, four for each of four samples


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("forward", False, False), {"LDG.E.64": 2, "STG.E.64": 3}),
        (("forward", True, True), {"LDG.E.64": 2 * 3 + 3, "STG.E.64": 1}),
        (("backward", False, False), {"LDG.E.64": 2 + 3, "STG.E.64": 2}),
        (
            ("backward", True, True, True),
            {"LDG.E": 1, "LDG.E.64": 2 * 3 + 3, "STG.E.64": 2 * 3, "RED": 4 * 4 * 3},
        ),
    ],
)
def test_half_types_are_accessed_eight_bytes_at_a_time(counting, path, expected):
    of_halves = counting.KernelPath(*path, half=True)
    assert of_halves.accesses == PIXELS_READ | expected
    counting.instructions(of_halves)  # refuses any other accesses


def test_a_path_that_is_not_the_right_one_is_refused(counting, monkeypatch):
    monkeypatch.setattr(counting, "CHANNELS", 4)
    monkeypatch.setattr(counting.KernelPath, "trips", [3])
    with pytest.raises(ValueError, match=r"makes the accesses \{'LDG\.E\.128': 2, 'LDG"):
        counting.instructions(counting.KernelPath("forward", blended=False, loss=False))


def test_sources_that_have_changed_are_noticed(tool, monkeypatch, tmp_path):
    counting = tool("instruction_count")
    (tmp_path / "csrc/cuda").mkdir(parents=True)
    for file in (ROOT / "csrc/cuda").iterdir():
        text = file.read_text().replace("auto with_float(", "auto with_real(")
        (tmp_path / "csrc/cuda" / file.name).write_text(text)
    monkeypatch.setattr(counting, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"tensors\.h does not hold 'auto with_float"):
        counting.specialize(counting.KernelPath("forward", False, False), tmp_path / "copy")


def test_the_table_in_the_docs_is_the_output_of_the_tool(tool, counting):
    predict = tool("predict")
    shown = predict.PAGE.read_text().split(predict.BEGIN)[1].split(predict.END)[0].strip()
    assert shown.startswith("**PREDICTION, NOT MEASURED**")
    with_nvcc = re.search(r"as nvcc (\S+) makes them", shown)[1]
    if with_nvcc != counting.nvcc_version():
        pytest.skip(f"the table is of nvcc {with_nvcc}, this is {counting.nvcc_version()}")
    assert shown == predict.table(), "run `python tools/predict --write`"
