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
    """Past the slow division, into the branch, past the jump. A loop has more than one path."""
    counting = tool("instruction_count")
    straight = LISTING.replace("@P1 BRA 0x40", "@P1 BRA 0x60")
    names = counting.walk(counting.parse(straight))
    assert names == ["MOV", "BRA", "LDG.E.64", "BRA", "BRA", "FADD", "EXIT", "BRA", "EXIT"]
    with pytest.raises(ValueError, match="the kernel has a loop, at 0x50"):
        counting.walk(counting.parse(LISTING))


def test_one_of_eight_warps_adds_up_the_sums_of_a_block(tool, monkeypatch):
    counting = tool("instruction_count")
    path = counting.KernelPath("forward", blended=False, loss=True)
    reads = [kind for kind, count in path.accesses.items() for _ in range(count)]
    reads.remove("STG.E.64")
    body = ["MOV", *reads, "BAR.SYNC", "EXIT", "DADD", "DADD", "STG.E.64", "EXIT"]
    monkeypatch.setattr(counting, "disassemble", lambda path: "")
    monkeypatch.setattr(counting, "walk", lambda code: body)
    assert counting.instructions(path) == len(reads) + 3 + 4 / 8


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


HALF = ("Half", "Half")
MIXED = ("float", "BFloat16")  # of training


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            ("forward", False, False, False, HALF),
            {"LDG.E.U16.CONSTANT": 12, "LDG.E.U16": 2, "STG.E.U16": 3},
        ),
        (
            ("forward", True, True, False, MIXED),
            {"LDG.E.CONSTANT": 12, "LDG.E.U16": 6, "LDG.E": 3, "STG.E.64": 1},
        ),
        (
            ("backward", True, True, True, MIXED),
            {"LDG.E.CONSTANT": 12, "LDG.E.U16": 6, "LDG.E": 4, "STG.E.U16": 6, "RED": 12},
        ),
    ],
)
def test_numbers_of_two_bytes_are_accessed_once_each(counting, path, expected):
    path = counting.KernelPath(*path)
    assert path.accesses == expected
    counting.instructions(path)  # refuses any other accesses


def test_a_path_that_is_not_the_right_one_is_refused(counting, monkeypatch):
    monkeypatch.setattr(counting, "CHANNELS", 4)
    with pytest.raises(ValueError, match=r"makes the accesses \{'LDG\.E': 2, 'LDG"):
        counting.instructions(counting.KernelPath("forward", blended=False, loss=False))


def test_sources_that_have_changed_are_noticed(tool, monkeypatch, tmp_path):
    counting = tool("instruction_count")
    (tmp_path / "csrc/cuda").mkdir(parents=True)
    for file in (ROOT / "csrc/cuda").iterdir():
        text = file.read_text().replace("if (common) {", "if (usual) {")
        (tmp_path / "csrc/cuda" / file.name).write_text(text)
    monkeypatch.setattr(counting, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"choice\.h does not hold 'if \(common"):
        counting.specialize(counting.KernelPath("forward", False, False), tmp_path / "copy")


def test_the_table_in_the_docs_is_the_output_of_the_tool(tool, counting):
    predict = tool("predict")
    shown = predict.PAGE.read_text().split(predict.BEGIN)[1].split(predict.END)[0].strip()
    assert shown.startswith("**PREDICTION, NOT MEASURED**")
    with_nvcc = re.search(r"as nvcc (\S+) makes them", shown)[1]
    if with_nvcc != counting.nvcc_version():
        pytest.skip(f"the table is of nvcc {with_nvcc}, this is {counting.nvcc_version()}")
    assert shown == predict.table(), "run `python tools/predict --write`"
