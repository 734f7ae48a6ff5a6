"""The tables and the plot of a few measurements made up by hand."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def record(op, provider, speed, ours_over_it=1.0, *, size="16x3x256x256", seconds=0.01, **more):
    info = {
        "op": op,
        "span": "forward",
        "size": size,
        "flow": "smooth",
        "data": "fp32",
        "provider": provider,
        "speed_over_eager": speed,
        "speed_over_tcae_ops": 1 / ours_over_it,
        "gb_per_s": 5.0,
        "share_of_copy": 0.4,
        "extra_bytes": 0,
        "image_bytes": 2**20,
    } | more
    group = f"{op} forward {size} {info['flow']}" + (" " + info["data"]) * (info["data"] != "fp32")
    return {"group": group, "stats": {"median": seconds}, "extra_info": info}


def step(preset, precision, speed, memory, *, side=64, option=""):
    info = {
        "preset": preset,
        "precision": precision,
        "option": option,
        "image_size": side,
        "batch_size": 32,
        "images_per_second": 32.04,
        "speed_over_released": speed,
        "memory_over_released": memory,
    }
    return {"group": "training step", "stats": {"median": 1.0}, "extra_info": info}


def frames(name, per_core_second=None, **info):
    if per_core_second is not None:
        info |= {"frames_per_second": 1.0, "frames_per_core_second": per_core_second}
    return {"group": "loader", "name": name, "stats": {"median": 1.0}, "extra_info": info}


STAGES = {"decode": 2.0, "detect": 16.0, "align": 1.5, "write": 0.5}  # ms for a frame

MEASURED = {
    "datetime": "2026-01-02T03:04:05+00:00",
    "machine_info": {
        "node": "somebodys-laptop",
        "tcae": {
            "device": "cpu",
            "processor": "Some CPU, 2 threads on 2 cores",
            "kernels": "avx512",
            "versions": {"torch": "2.13.0", "Python": "3.11.7"},
            "copy_gb_per_s": 12.5,
        },
    },
    "benchmarks": [
        record("warp", "tcae_ops", 4.0, seconds=0.002),
        record("warp", "eager", 1.0, 4.0),
        record("warp", "cv2.remap", 8.0, 0.5),
        record("warp", "tcae_ops, portable", 2.0, 2.0),
        record("warp_l1", "tcae_ops", 12.0),
        record("warp_l1", "eager", 1.0, 12.0),
        record("warp", "tcae_ops", 0.5, size="1x3x32x32", extra_bytes=8192, image_bytes=4096),
        record("warp", "eager", 1.0, 0.5, size="1x3x32x32"),
        record("warp", "tcae_ops", 3.0, size="64x3x64x64", extra_bytes=2**19, image_bytes=2**24),
        record("blend_warp_l1", "tcae_ops", 1.5, flow="rough"),
        record("blend_warp_l1", "eager", 1.0, 1.5, flow="rough"),
        record("warp", "tcae_ops", 2.5, flow="rough"),
        record("warp", "eager", 1.0, 2.5, flow="rough"),
        record("warp", "tcae_ops", 5.0, size="8x128x64x64", data="fp32-channels-last"),
        record("warp", "tcae_ops", 0, data="bf16", speed_over_fp32=0.9),
        record("warp", "tcae_ops", 0, data="fp16", speed_over_fp32=0.6),
        step("official", "fp32", 2.0, 0.55),
        step("official", "fp32", 1.4, 0.5, side=256),
        step("official", "fp32", 1.2, 0.2, option=", --recompute"),
        step("default", "bf16", 4.0, 0.456),
        step("default", "fp32", 2.5, 0.7),
        frames("loading", 1600, what="loading, pictures of 256x256 to 256x256"),
        frames("waiting", data_wait_share=0.012),
        frames("with workers", workers=2, frames_per_second=1234.5),
        *(frames("packing", 1000 / ms, stage=stage) for stage, ms in STAGES.items()),
    ],
}


SCALE = "Many.\n\n<!-- throughput -->\nold\n<!-- /throughput -->\n\nPlan.\n"
MEASURED_BLOCK = "Before.\n\n<!-- measured -->\n<!-- /measured -->\nAfter.\n"
GOALS_BLOCK = "# Title\n\n<!-- goals -->\nold\n<!-- /goals -->\n\nEnd.\n"
MANUAL = MEASURED_BLOCK + GOALS_BLOCK


def report(path, measured, manual=MANUAL):
    source = path / "measured.json"
    source.write_text(json.dumps(measured))
    (path / "docs").mkdir(exist_ok=True)
    (path / "docs/benchmarks.md").write_text(manual)
    (path / "docs/scale.md").write_text(SCALE)
    command = [sys.executable, "-m", "benchmarks.report", str(source), "--root", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def written(tmp_path):
    """The goals, all tables, the plot."""
    done = report(tmp_path, MEASURED)
    assert (done.returncode, done.stderr) == (0, "")
    measured, title, goals = (tmp_path / "docs/benchmarks.md").read_text().partition("# Title")
    return title + goals, measured, (tmp_path / "docs/speed.svg").read_text()


def tables(markdown):
    """Parse every table: for each row except the rule, its first cell and the others."""
    found = []
    for block in markdown.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
        if cells:
            found.append([(row[0], row[1:]) for row in cells if row[0] != "---"])
    return found


def dots(svg):
    """Parse the plot's circles by height: [(x, colour)]."""
    found = {}
    for circle in ElementTree.fromstring(svg).iter(f"{SVG}circle"):
        line = found.setdefault(float(circle.get("cy")), [])
        line.append((float(circle.get("cx")), circle.get("fill")))
    return found


def test_only_what_is_between_the_markers_is_replaced(written):
    goals, manual, _ = written
    assert goals.startswith("# Title\n\n<!-- goals -->\n")
    assert goals.endswith("\n<!-- /goals -->\n\nEnd.\n")
    assert "old" not in goals
    assert manual.startswith("Before.\n\n<!-- measured -->\n")
    assert manual.endswith("\n<!-- /measured -->\nAfter.\n")


def test_goals_stand_beside_what_was_measured(written):
    (goals,) = tables(written[0])
    rows = {(name, *row[:2]): row[2] for name, row in goals}
    warp = ("`warp` forward", "cv2.remap", ">= 1x")
    assert rows[warp] == "**0.5x ▼**"
    assert rows["`warp` forward", "F.grid_sample", ">= 2x"] == "not measured"
    assert rows["rough flows, each of these", "eager", ">= 2x"] == (
        "**1.5x ▼** (`blend_warp_l1` forward)"
    )
    assert rows["1x3x32x32, each operator", "eager", ">= 1x"] == "**0.5x ▼**"
    # 8 KiB of a 4 KiB image do not count, 1/32 of a large one does.
    memory = ("memory beyond results, every operator and size", "the image", "<= 1%")
    assert rows[memory] == "**3.12% (warp forward 64x3x64x64 smooth) ▼**"
    kinds = ("other types and layouts", "contiguous fp32", ">= 70%")
    assert rows[kinds] == "**60% (warp forward 16x3x256x256 smooth fp16) ▼**"


def test_reached_goals_are_not_marked(tmp_path):
    fast = [record("warp", "tcae_ops", 9.0), record("warp", "cv2.remap", 3.0, 1.04)]
    assert report(tmp_path, MEASURED | {"benchmarks": fast}).returncode == 0
    rows = tables((tmp_path / "docs/benchmarks.md").read_text().partition("# Title")[2])[0]
    assert ("`warp` forward", ["cv2.remap", ">= 1x", "1x"]) in rows
    assert not any("▼" in cell for _, row in rows for cell in row)


def test_the_summary_has_every_case_of_plain_images_and_marks_those_slower_than_eager(written):
    assert dict(tables(written[1])[0]) == {
        "": [
            *("16x3x256x256 smooth", "1x3x32x32 smooth", "64x3x64x64 smooth", "16x3x256x256 rough")
        ],
        "`warp` forward": ["4x", "**0.5x ▼**", "3x", "2.5x"],
        "`warp_l1` forward": ["12x", "", "", ""],
        "`blend_warp_l1` forward": ["", "", "", "1.5x"],
    }


def test_each_case_is_set_against_each_rival(written):
    cases = dict(tables(written[1])[1])
    assert "warp forward 8x128x64x64 smooth fp32-channels-last" in cases
    assert cases["case"] == ["ms", "GB/s", "of copy", "extra memory", "eager", "cv2.remap"]
    common = "5", "40%", "< 1 % of the image"
    assert cases["warp forward 16x3x256x256 smooth"] == ["2", *common, "4x", "**0.5x ▼**"]
    assert cases["warp_l1 forward 16x3x256x256 smooth"] == ["10", *common, "12x", ""]
    tiny = cases["warp forward 1x3x32x32 smooth"]
    assert tiny == ["10", "5", "40%", "8 KiB", "**0.5x ▼**", ""]


def test_overrides_and_kinds_of_data_have_tables_of_their_own(written):
    variants, kinds = tables(written[1])[2:4]
    assert dict(variants) == {
        "case": ["tcae_ops, portable"],
        "warp forward 16x3x256x256 smooth": ["2x"],
    }
    assert dict(kinds) == {
        "16x3x256x256, ▼: below 0.70": ["`warp` forward"],
        "bf16": ["0.90"],
        "fp16": ["0.60 ▼"],
    }


def test_training_stands_beside_its_goals(tmp_path):
    assert report(tmp_path, MEASURED).returncode == 0
    text = (tmp_path / "docs/scale.md").read_text()
    assert text.startswith("Many.\n\n<!-- throughput -->\n\nMedians of rounds in turns on Some CPU")
    assert text.endswith("<!-- /throughput -->\n\nPlan.\n") and "old" not in text
    goals, steps, frames = map(dict, tables(text))
    # The worst size counts; what an option brings is another matter.
    assert goals == {
        "the worst of all sizes": ["goal", "measured"],
        "same mathematics, fp32: images/s, released code = 1": [">= 1.5x", "**1.4x ▼**"],
        "preset `default`, bf16: images/s, released code = 1": [">= 3.5x", "4x"],
        "same mathematics: peak memory of a step, released code = 1": ["<= 0.6x", "0.55x"],
        "preset `default`: peak memory of a step, released code = 1": ["<= 0.6x", "**0.70x ▼**"],
        "time of training that is spent waiting for data, 2 workers, 256x256": ["< 5%", "1.2%"],
        "loader alone, 2 workers: frames/s of 256x256": [">= 1500", "**1234 ▼**"],
    }
    assert len(steps) == 6
    assert steps["`official` fp32, --recompute, 32 of side 64"] == ["32.0", "1.2x", "0.20x"]
    assert frames["loading, pictures of 256x256 to 256x256"] == ["0.62", "1600"]
    assert frames["packing: detect"] == ["16.00", "62"]
    # 25 x 2.0 + 16.0 + 1.5 + 0.5 ms
    assert frames["packing one frame of 25 that are decoded"] == ["68.00", "15"]


def test_training_alone_leaves_the_operators_figures(tmp_path):
    alone = [b for b in MEASURED["benchmarks"] if "op" not in b["extra_info"]]
    assert report(tmp_path, MEASURED | {"benchmarks": alone[:1]}).returncode == 0
    assert (tmp_path / "docs/benchmarks.md").read_text() == MANUAL
    text = (tmp_path / "docs/scale.md").read_text()
    goals, steps = map(dict, tables(text))
    assert goals["loader alone, 2 workers: frames/s of 256x256"] == [">= 1500", "not measured"]
    assert len(steps) == 2


def test_the_machine_is_described_but_not_named(written):
    said = "Some CPU, 2 threads on 2 cores, avx512 kernels, copying 12.5 GB/s; torch 2.13.0, "
    for text in written:
        assert said + "Python 3.11.7; 2026-01-02" in text
        assert "somebodys-laptop" not in text


def test_a_busy_machine_is_reported(tmp_path):
    def header(share):
        busy = [record("warp", "tcae_ops", 4.0, cores_taken_elsewhere=share)]
        assert report(tmp_path, MEASURED | {"benchmarks": busy}).returncode == 0
        return (tmp_path / "docs/benchmarks.md").read_text().splitlines()[4]

    assert header(0.3).endswith("Other processes took 30% of the cores meanwhile.")
    assert header(0.01).endswith("medians of rounds in turns.")


def test_the_plot_puts_faster_to_the_right_and_marks_losing_cases(written):
    legend, *lines = dots(written[2]).values()
    assert len(legend) == 4
    assert [len(line) for line in lines] == [4, 2, 1, 2, 1, 2, 2]
    by_colour = {colour: x for x, colour in lines[0]}
    ours, eager, remap, portable = (by_colour[colour] for _, colour in legend)
    # 1, 2, 4 and 8 times eager's speed: the same distance on a logarithmic axis.
    assert portable - eager == pytest.approx(ours - portable, abs=0.1)
    assert remap - ours == pytest.approx(ours - portable, abs=0.1)
    assert portable > eager
    labels = [text.text for text in ElementTree.fromstring(written[2]).iter(f"{SVG}text")]
    assert "▼ warp forward 16x3x256x256 smooth" in labels
    assert "warp_l1 forward 16x3x256x256 smooth" in labels


@pytest.mark.parametrize("benchmarks", [[], [record("warp", "eager", 1.0)]])
def test_a_measurement_without_ours_is_refused_in_one_line(tmp_path, benchmarks):
    done = report(tmp_path, MEASURED | {"benchmarks": benchmarks})
    assert done.returncode == 2
    assert re.fullmatch("report: error: .*no measurement of an operator of ours.*\n", done.stderr)
    assert (tmp_path / "docs/benchmarks.md").read_text() == MANUAL


def test_a_file_without_markers_is_refused_in_one_line(tmp_path):
    done = report(tmp_path, MEASURED, manual=MEASURED_BLOCK)
    assert done.returncode == 2
    assert re.fullmatch(
        "report: error: .*benchmarks.md has no <!-- goals --> and .*\n", done.stderr
    )
    assert not (tmp_path / "docs/speed.svg").exists()
