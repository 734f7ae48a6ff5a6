"""The self-test of an installed package: what it finds, what it skips, how it fails."""

import itertools
import re
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from tcae_ops import backends, library
from tcae_ops.selftest import __main__ as selftest
from tcae_ops.selftest import checks, places, speed
from tcae_ops.selftest.agreement import Disagreement
from tcae_ops.selftest.cases import CASES, IMAGES
from tcae_ops.selftest.places import CPU, Place
from tcae_ops.selftest.workloads import FORWARD, Workload

PLACE = Place("reference", CPU)


def rows(markdown, heading):
    """Return the rows of the table under a heading, without its head."""
    section = markdown.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture
def plant(monkeypatch):
    """Function that replaces the backend `reference`. The definition itself stays the truth."""

    def put(change):
        definition = backends.BACKENDS["reference"]

        def run(request):
            is_truth = request.image.dtype in (torch.float64, torch.uint8)
            results = definition(request)
            return results if is_truth else change(*request, results)

        monkeypatch.setitem(backends.BACKENDS, "reference", run)

    return put


@pytest.fixture
def few_cases(monkeypatch):
    names = ("twin", "warp", "zeros", "many blended")
    monkeypatch.setattr(checks, "CASES", {name: checks.CASES[name] for name in names})
    monkeypatch.setattr(checks, "IMAGES", [torch.float32])


def test_a_quick_run_checks_every_backend_and_reports_what_it_skipped(tmp_path, capsys, few_cases):
    out = tmp_path / "report.md"
    assert selftest.main(["--quick", "--out", str(out)]) == 0
    text = out.read_text()
    assert re.search(r"\*\*\d+ passed, 0 FAILED, \d+ not run\*\*", text)
    done = {(row[0], row[1]): row[2] for row in rows(text, "Checks")}
    for place in places.usable():
        for check in ("values and gradients", "layouts", "determinism"):
            assert done[str(place), check] == "passed"
    left = {(row[0], row[1]): row[2] for row in rows(text, "Not run")}
    for name, reason in places.unusable().items():
        assert left[name, "all"] == reason
    assert left["reference on cpu", "torch.compile"] == "--quick leaves it out"
    if not torch.cuda.is_available():
        assert left["all", "graph capture"] == "there is no CUDA device"
    assert f"| torch | {torch.__version__} (CUDA {torch.version.cuda}" in text
    assert "| driver |" in text
    if library.CPU.problem is None:
        assert f"instruction set {torch.ops.tcae_ops.simd_level()}" in text
    printed = capsys.readouterr().out
    assert str(out) in printed.splitlines()[-1]
    assert "cuda" in printed


def wrong_loss(image, flows, logits, target, units, padding, return_warped, results):
    return [results[0] * 1.001, *results[1:]]


def wrong_flow_gradient(image, flows, *rest):
    *_, results = rest
    return [r + 0.01 * (flows[0] - flows[0].detach()).sum() for r in results]


def wrong_type(*arguments):
    return [r.double() for r in arguments[-1]]


def wrong_image_gradient(image, *rest):
    *_, results = rest
    return [r + 1e-3 * (image - image.detach()).sum().to(r.dtype) for r in results]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wrong_loss, "loss: 2 of 2 numbers are wrong"),
        (wrong_type, "the loss is torch.float64, not torch.float32"),
        (wrong_flow_gradient, "gradient of the flows"),
        (wrong_image_gradient, "gradient of the image"),
    ],
)
def test_wrong_values_and_gradients_are_found(plant, few_cases, change, said):
    plant(change)
    said = said.replace("the flows", r"flows\[0\]")
    with pytest.raises(Disagreement, match=rf"4 of 4 cases: twin, torch.float32, .*: {said}"):
        checks.values_and_gradients(PLACE)


def test_a_result_that_is_wrong_alone_is_found(plant, few_cases):
    def right_together(image, flows, logits, target, units, padding, return_warped, results):
        return results if target and return_warped else [1.01 * r for r in results]

    plant(right_together)
    checks.values_and_gradients(PLACE)
    with pytest.raises(Disagreement, match=r"2 of 2 cases: twin, torch\.float32, channels_last"):
        checks.results_alone(PLACE)


def test_a_layout_that_is_read_wrongly_is_found(plant, few_cases):
    def dense_alone(image, *rest):
        *_, results = rest
        return results if image.is_contiguous() else [2 * r for r in results]

    plant(dense_alone)
    checks.values_and_gradients(PLACE)
    with pytest.raises(Disagreement, match=r"of 24 cases: twin, torch\.float32, channels_last"):
        checks.layouts(PLACE)


def test_few_combinations_show_every_case_and_every_two_properties():
    everything = list(itertools.product(CASES, IMAGES, ["contiguous", "sliced"]))
    few = checks.pairwise([checks.Combination(*it) for it in everything])
    assert len(few) < len(everything) / 3
    assert {it.case for it in few} == set(CASES)
    for aspect in ("count", "flow", "padding", "units"):
        for other in ("dtype", "layout"):
            shown = {(getattr(CASES[it.case], aspect), getattr(it, other)) for it in few}
            values = {getattr(case, aspect) for case in CASES.values()}
            assert shown == set(itertools.product(values, {getattr(it, other) for it in few}))
    paddings = {(case.count, case.padding) for case in CASES.values()}
    assert {(CASES[it.case].count, CASES[it.case].padding) for it in few} == paddings


def test_triton_alone_is_tried_with_few_combinations(monkeypatch):
    tried = []
    monkeypatch.setattr(checks, "agree", lambda *arguments: tried.append(arguments[-1]))
    for backend in ("triton", "reference"):
        checks.values_and_gradients(Place(backend, CPU))
    assert tried.count("reference") == len(CASES) * len(IMAGES)
    assert len(CASES) <= tried.count("triton") < len(CASES) * 2


def test_results_that_change_from_run_to_run_are_found(plant):
    shakes = itertools.cycle([0.0, 1e-6])  # not drawn: a small draw would round away

    def shaken(*arguments):
        shake = next(shakes)
        return [r * (1 + shake) for r in arguments[-1]]

    checks.determinism(PLACE)
    plant(shaken)
    with pytest.raises(Disagreement, match="result 0 has other bits when run again"):
        checks.determinism(PLACE)


@pytest.fixture
def streams(monkeypatch):
    """Stand-ins for CUDA's streams and graphs. Work runs at once, and a graph replays nothing."""

    class Stream:
        def wait_stream(self, other):
            pass

    class Graph:
        def replay(self):
            pass

    for name, value in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "graph": lambda graph: nullcontext(),
        "synchronize": lambda: None,
        "_sleep": lambda ticks: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


def test_what_does_not_follow_its_inputs_is_found(plant, streams):
    with pytest.raises(Disagreement, match="result 0 is wrong, replayed"):
        checks.graph_capture(PLACE)
    checks.stream_order(PLACE)

    def too_early(image, *rest):
        """Return what the operator would compute if it had not waited."""
        return [r + 0 * torch.full_like(r, torch.nan) for r in rest[-1]]

    given = iter([False, True])  # the first call gives what is expected
    plant(lambda image, *rest: too_early(image, *rest) if next(given) else rest[-1])
    with pytest.raises(Disagreement, match="result 0 is wrong, busy stream before it"):
        checks.stream_order(PLACE)


def test_what_compiles_to_something_else_is_found(cpp, monkeypatch):
    def run(*arguments):
        results = library.run(*arguments)
        return [2 * r for r in results] if torch.compiler.is_compiling() else results

    monkeypatch.setattr(checks, "_require_compiler", lambda device: None)
    compile_eagerly(monkeypatch)
    assert checks.compilation(Place("cpp", CPU))
    monkeypatch.setitem(backends.BACKENDS, "cpp", run)
    with pytest.raises(Disagreement, match="result 0 is wrong, compiled"):
        checks.compilation(Place("cpp", CPU))


def compile_eagerly(monkeypatch):
    """Compile without Inductor, which is slow."""
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **o: original(f, **o, backend="aot_eager"))


def test_a_torch_that_cannot_compile_is_no_failure(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no compiler\nfor many reasons")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(checks.Unable, match=r"cannot compile here: RuntimeError: no compiler$"):
        checks.compilation(Place("cpp", CPU))


def test_a_failure_is_reported_and_the_rest_goes_on(plant, few_cases, tmp_path, capsys):
    def broken(*arguments):
        raise RuntimeError("kernel | launch failed\nfar away")

    plant(broken)
    out = tmp_path / "report.md"
    assert selftest.main(["--quick", "--out", str(out)]) == 1
    text = out.read_text()
    done = {(row[0], row[1]): row[2:4] for row in rows(text, "Checks")}
    said = ["FAILED", "RuntimeError: kernel / launch failed"]
    assert done["reference on cpu", "values and gradients"] == said
    assert done["reference on cpu", "determinism"] == said
    failed = text.partition("## Failed: values and gradients, reference on cpu")[2]
    assert "Traceback (most recent call last)" in failed
    assert "far away" in failed
    assert re.search(r"\d+ passed, [3-9] FAILED", capsys.readouterr().out)


def test_speeds_are_in_the_report(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "ON_ANY_DEVICE", {})
    monkeypatch.setattr(speed, "LARGE", (2, 3, 32, 32))
    monkeypatch.setattr(speed, "_FLUSHED", 2**20)
    monkeypatch.setattr(speed, "_SECONDS", 0.0)
    monkeypatch.setattr(speed, "COMPILED_OP", "none")
    speed.copy_bandwidth.cache_clear()
    out = tmp_path / "report.md"
    assert selftest.main(["--out", str(out)]) == 0
    speed.copy_bandwidth.cache_clear()
    found = rows(out.read_text(), "Speed")
    assert len(found) == 2 * 4 * (1 + (library.CPU.problem is None))
    for _, by, cold, warm, rate, share, over_cold, over_warm in found:
        assert float(cold) > 0 and float(warm) > 0 and float(rate) > 0 and share.endswith("%")
        assert by != "eager" or (over_cold, over_warm) == ("1.00x", "1.00x")


def test_an_operator_of_ours_that_cannot_be_measured_is_a_failure(monkeypatch, tmp_path):
    workload = Workload("warp", FORWARD, (1, 3, 8, 8))
    baseline = speed.Measurement(workload, speed.COMPILED, 1, None, "no compiler")
    ours = speed.Measurement(workload, "cpp on cpu", 1, None, "out of memory")
    monkeypatch.setattr(checks, "ON_ANY_DEVICE", {})
    monkeypatch.setattr(speed, "copy_bandwidth", lambda device: 1.0)
    for found, status in ([baseline], 0), ([baseline, ours], 1):
        monkeypatch.setattr(speed, "measure_all", lambda found=found: iter(found))
        out = tmp_path / "report.md"
        assert selftest.main(["--out", str(out)]) == status
        assert "not measured: no compiler" in out.read_text()


def test_the_clock_sees_the_run_and_not_its_preparation(monkeypatch):
    now = [0.0]

    def take(seconds):
        now[0] += seconds

    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    times = speed.cpu_seconds(lambda: take(0.5), lambda: take(7))
    assert times == [0.5, 0.5, 0.5]
    monkeypatch.setattr(speed, "cpu_seconds", lambda run, prepare: [1.0, 2.0, 64.0])
    speed.copy_bandwidth.cache_clear()
    assert speed.copy_bandwidth(CPU) == 256 * 2**20  # read and written, in two seconds
    speed.copy_bandwidth.cache_clear()


def test_the_clock_of_a_gpu_starts_after_the_preparation_and_the_host_is_ahead(monkeypatch):
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            log.append(self)

        def elapsed_time(self, other):
            return 1000 * (log.index(other) - log.index(self))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda ticks: log.append("wait"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("synchronize"))
    times = speed.gpu_seconds(lambda: log.append("run"), lambda: log.append("prepare"))
    assert set(times) == {2.0}
    assert log[:2] == ["prepare", "wait"]
    assert log.index("synchronize") == len(log) - 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "{tmp}/none/report.md"], "--out {tmp}/none/report.md: No such file"),
        (["--out", "{tmp}"], "--out {tmp}: Is a directory"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_at_once(tmp_path, arguments, said):
    """In any folder, with only the installed package."""
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    command = [sys.executable, "-m", "tcae_ops.selftest", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch("tcae_ops.selftest: error: .*\n", done.stderr)
    assert said.format(tmp=tmp_path) in done.stderr


def test_nothing_but_torch_is_needed(tmp_path):
    program = "import sys, tcae_ops.selftest.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"tests", "benchmarks", "tcae", "tyro", "pytest", "pytest_benchmark"}


def test_without_a_library_the_definition_is_tested(monkeypatch):
    monkeypatch.setattr(library.CPU, "problem", "no library was built")
    assert [str(place) for place in places.usable() if place.device == CPU] == ["reference on cpu"]
    assert places.unusable()["cpp"] == "no library was built"
