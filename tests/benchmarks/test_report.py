"""The tables and the plot of a few measurements made up by hand."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "report.py"
SVG = "{http://www.w3.org/2000/svg}"


def record(op, provider, speed, *, size="16x3x256x256", seconds=0.01, **more):
    info = {
        "op": op,
        "span": "forward",
        "size": size,
        "flow": "smooth",
        "data": "fp32",
        "provider": provider,
        "speed_over_eager": speed,
        "gb_per_s": 5.0,
        "share_of_copy": 0.4,
        "extra_bytes": 0,
        "extra_share_of_image": 0.0,
    } | more
    group = f"{op} forward {size} smooth" + (" " + info["data"]) * (info["data"] != "fp32")
    return {"group": group, "stats": {"median": seconds}, "extra_info": info}


MEASURED = {
    "machine_info": {
        "node": "somebodys-laptop",
        "tcae": {
            "device": "cpu",
            "processor": "Some CPU, 2 threads on 2 cores",
            "kernels": "avx512",
            "torch": "2.13.0",
            "copy_gb_per_s": 12.5,
        },
    },
    "benchmarks": [
        record("warp", "tcae_ops", 4.0, seconds=0.002),
        record("warp", "eager", 1.0),
        record("warp", "cv2.remap", 8.0),
        record("warp", "tcae_ops, portable", 2.0),
        record("warp_l1", "tcae_ops", 12.0),
        record("warp_l1", "eager", 1.0),
        record("warp", "tcae_ops", 0.5, size="1x3x32x32", extra_bytes=8192, extra_share_of_image=2),
        record("warp", "tcae_ops", 0, data="bf16", speed_over_fp32=0.9),
        record("warp", "tcae_ops", 0, data="fp16", speed_over_fp32=0.6),
        {
            "group": "training step",
            "stats": {"median": 1.0},
            "extra_info": {"image_size": 64, "batch_size": 32, "images_per_second": 32.0},
        },
    ],
}


def report(path, measured):
    source = path / "measured.json"
    source.write_text(json.dumps(measured))
    command = [sys.executable, str(SCRIPT), str(source), "--out", str(path / "out")]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def written(tmp_path):
    done = report(tmp_path, MEASURED)
    assert (done.returncode, done.stderr) == (0, "")
    out = tmp_path / "out"
    return (out / "speed.md").read_text(), (out / "speed.svg").read_text()


def tables(markdown):
    """Every table: the cells of its rows, by the first cell, without the rule."""
    found = []
    for block in markdown.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
        if cells:
            found.append({row[0]: row[1:] for row in cells if row[0] != "---"})
    return found


def dots(svg):
    """The plot's circles by height: [(x, colour)]."""
    found = {}
    for circle in ElementTree.fromstring(svg).iter(f"{SVG}circle"):
        line = found.setdefault(float(circle.get("cy")), [])
        line.append((float(circle.get("cx")), circle.get("fill")))
    return found


def test_the_summary_has_every_case_and_marks_those_slower_than_eager(written):
    assert tables(written[0])[0] == {
        "": ["16x3x256x256 smooth", "1x3x32x32 smooth"],
        "`warp` forward": ["4x", "**0.5x ▼**"],
        "`warp_l1` forward": ["12x", ""],
    }


def test_each_case_is_set_against_each_rival(written):
    assert tables(written[0])[1] == {
        "case": ["ms", "GB/s", "of copy", "extra memory", "eager", "cv2.remap"],
        "warp forward 16x3x256x256 smooth": [
            *("2", "5", "40%", "< 1 % of the image", "4x", "**0.5x ▼**")
        ],
        "warp_l1 forward 16x3x256x256 smooth": [
            *("10", "5", "40%", "< 1 % of the image", "12x", "")
        ],
        "warp forward 1x3x32x32 smooth": ["10", "5", "40%", "8 KiB", "", ""],
    }


def test_overrides_and_kinds_of_data_have_tables_of_their_own(written):
    assert tables(written[0])[2:] == [
        {"case": ["tcae_ops, portable"], "warp forward 16x3x256x256 smooth": ["2x"]},
        {
            "16x3x256x256, ▼: below 0.70": ["`warp` forward"],
            "bf16": ["0.90"],
            "fp16": ["0.60 ▼"],
        },
    ]
    assert "32.0 images/s" in written[0]


def test_the_machine_is_described_but_not_named(written):
    for text in written:
        assert (
            "Some CPU, 2 threads on 2 cores, avx512 kernels, torch 2.13.0, copying 12.5 GB/s"
            in text
        )
        assert "somebodys-laptop" not in text


def test_a_busy_machine_is_told_of(tmp_path):
    def header(share):
        busy = [record("warp", "tcae_ops", 4.0, cores_taken_elsewhere=share)]
        assert report(tmp_path, MEASURED | {"benchmarks": busy}).returncode == 0
        return (tmp_path / "out" / "speed.md").read_text().splitlines()[0]

    assert header(0.3).endswith("Other processes took 30% of the cores meanwhile.")
    assert header(0.01).endswith("medians of rounds in turns.")


def test_the_plot_puts_faster_to_the_right_and_marks_losing_cases(written):
    legend, *lines = dots(written[1]).values()
    assert len(legend) == 4
    assert [len(line) for line in lines] == [4, 2, 1]
    by_colour = {colour: x for x, colour in lines[0]}
    ours, eager, remap, portable = (by_colour[colour] for _, colour in legend)
    # 1, 2, 4 and 8 times eager's speed: the same distance on a logarithmic axis.
    assert portable - eager == pytest.approx(ours - portable, abs=0.1)
    assert remap - ours == pytest.approx(ours - portable, abs=0.1)
    assert portable > eager
    labels = [text.text for text in ElementTree.fromstring(written[1]).iter(f"{SVG}text")]
    assert "▼ warp forward 16x3x256x256 smooth" in labels
    assert "warp_l1 forward 16x3x256x256 smooth" in labels


@pytest.mark.parametrize("benchmarks", [[], [record("warp", "eager", 1.0)]])
def test_a_measurement_without_ours_is_refused_in_one_line(tmp_path, benchmarks):
    done = report(tmp_path, MEASURED | {"benchmarks": benchmarks})
    assert done.returncode == 2
    assert re.fullmatch("report: error: .*no measurement of an operator of ours.*\n", done.stderr)
    assert not (tmp_path / "out").exists()
