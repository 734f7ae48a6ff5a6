"""Wrong arguments are named, and the requested backend runs."""

import asyncio
import subprocess
import sys
import threading
import warnings

import pytest
import torch

import tcae_ops
from tcae_ops import backends, library, triton

IMAGE = torch.rand(2, 3, 4, 5)
FLOW = torch.rand(2, 2, 4, 5)
LOGIT = torch.rand(2, 4, 5)


def warp(image=IMAGE, flow=FLOW, **options):
    return lambda: tcae_ops.warp(image, flow, **options)


def blend(flows=(FLOW, FLOW), logits=(LOGIT, LOGIT)):
    return lambda: tcae_ops.blend_warp(IMAGE, flows, logits)


def l1(target, **options):
    return lambda: tcae_ops.warp_l1(IMAGE, FLOW, target, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (warp(image=[1.0]), TypeError, r"image is a list, but must be a torch.Tensor"),
        (warp(image=IMAGE.int()), TypeError, r"image is of type int32, but must be one of uint8"),
        (warp(image=IMAGE[0]), ValueError, r"image has shape \(3, 4, 5\), but must be \(N, C, H"),
        (warp(image=IMAGE[:, :0]), ValueError, r"image has shape \(2, 0, 4, 5\)"),
        (warp(flow=None), TypeError, r"flow is a NoneType"),
        (warp(flow=FLOW.to(torch.uint8)), TypeError, r"flow is of type uint8.*one of float16"),
        (warp(flow=FLOW[:, :1]), ValueError, r"flow has shape \(2, 1, 4, 5\).*\(2, 2, 4, 5\)"),
        (warp(flow=FLOW[0]), ValueError, r"flow has shape \(2, 4, 5\), but must be \(N, 2, H, W"),
        (warp(flow=FLOW[..., :0]), ValueError, r"flow has shape \(2, 2, 4, 0\).*H, W >= 1"),
        (warp(flow=FLOW.repeat(2, 1, 1, 1)), ValueError, r"flow .* \(2, 2, 4, 5\), or a batch of"),
        (warp(flow=FLOW.to("meta")), ValueError, r"flow is on meta, but must be .* on cpu"),
        (l1(IMAGE, return_warped="no"), TypeError, r"return_warped is 'no', .* True or False"),
        (warp(units="metres"), ValueError, r"units is 'metres', .* pixels, normalized"),
        (warp(padding="wrap"), ValueError, r"padding is 'wrap', .* border, zeros, reflection"),
        (warp(backend="fpga"), ValueError, r"backend is 'fpga', but must be one of cpp, cuda"),
        (warp(backend="cuda"), ValueError, r"backend 'cuda' cannot run: it is for cuda tensors"),
        (blend(flows=FLOW), TypeError, r"flows is a Tensor, but must be a list or tuple"),
        (blend(logits=LOGIT), TypeError, r"logits is a Tensor, but must be a list or tuple"),
        (blend(flows=[], logits=[]), ValueError, r"flows is empty"),
        (blend(logits=[LOGIT]), ValueError, r"logits holds 1 tensors, .* each of 2 flows"),
        (blend(flows=[FLOW, 1]), TypeError, r"flows\[1\] is a int"),
        (blend(flows=[FLOW, FLOW[:0]]), ValueError, r"flows\[1\] has shape \(0, 2, 4, 5\)"),
        (blend(flows=[FLOW, FLOW[:, :, 1:]]), ValueError, r"flows\[1\] has shape \(2, 2, 3, 5\)"),
        (blend(logits=[FLOW, LOGIT]), ValueError, r"logits\[0\] has shape .* or \(2, 1, 4, 5\)"),
        (blend(logits=[LOGIT, LOGIT.bool()]), TypeError, r"logits\[1\] is of type bool"),
        (
            l1(IMAGE[:, :1]),
            ValueError,
            r"target has shape \(2, 1, 4, 5\).*the warped image's shape",
        ),
        (l1(IMAGE.to(torch.int8)), TypeError, r"target is of type int8"),
        (l1(3), TypeError, r"target is a int"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_context_manager_chooses_the_backend(monkeypatch):
    monkeypatch.setattr(backends, "_override", None)
    calls = []

    def run(*arguments):
        calls.append(arguments)
        return [IMAGE]

    monkeypatch.setitem(backends.BACKENDS, "reference", run)
    with tcae_ops.backend("reference"):
        assert tcae_ops.warp(IMAGE, FLOW) is IMAGE
    assert len(calls) == 1
    assert backends._override is None
    with (
        pytest.raises(ValueError, match="backend is 'fast', but must be one of"),
        tcae_ops.backend("fast"),
    ):
        pass


@pytest.fixture
def runs(monkeypatch):
    """The names of the backends that ran."""
    ran = []
    for name, run in list(backends.BACKENDS.items()):

        def note(request, name=name, run=run):
            ran.append(name)
            return run(request)

        monkeypatch.setitem(backends.BACKENDS, name, note)
    monkeypatch.setattr(backends, "_override", None)
    monkeypatch.setattr(backends, "_fastest", {})
    return ran


def test_the_block_of_one_thread_is_not_seen_by_another(cpp, runs):
    inside, outside = threading.Event(), threading.Event()

    def overlap():
        with tcae_ops.backend("cpp"):
            inside.set()
            outside.wait(60)
            tcae_ops.warp(IMAGE, FLOW)

    thread = threading.Thread(target=overlap)
    with tcae_ops.backend("reference"):
        thread.start()
        assert inside.wait(60)
        tcae_ops.warp(IMAGE, FLOW)
    tcae_ops.warp(IMAGE, FLOW)
    outside.set()
    thread.join()
    tcae_ops.warp(IMAGE, FLOW)
    assert runs == ["reference", "cpp", "cpp", "cpp"]


def test_the_block_of_one_task_is_not_seen_by_another(cpp, runs):
    async def task(name, enter, leave, then):
        await enter.wait()
        with tcae_ops.backend(name):
            then.set()
            await leave.wait()
            tcae_ops.warp(IMAGE, FLOW)

    async def overlap():
        start, second, first = asyncio.Event(), asyncio.Event(), asyncio.Event()
        start.set()
        tasks = task("reference", start, first, second), task("cpp", second, second, first)
        await asyncio.gather(*tasks)
        tcae_ops.warp(IMAGE, FLOW)

    asyncio.run(overlap())
    assert sorted(runs) == ["cpp", "cpp", "reference"]


def test_a_compiled_program_follows_the_block(cpp, monkeypatch):
    monkeypatch.setattr(backends, "_override", None)

    def program(image, flow):
        with tcae_ops.backend("reference"):
            inner = tcae_ops.warp(image, flow)
        return tcae_ops.warp(inner, flow)

    torch._dynamo.reset()
    graphs = []

    def keep(graph, _):
        graphs.append(str(graph.code))
        return graph

    compiled = torch.compile(program, fullgraph=True, backend=keep)
    with tcae_ops.backend("reference"):
        compiled(IMAGE, FLOW)
    compiled(IMAGE, FLOW)
    with tcae_ops.backend("reference"):
        compiled(IMAGE, FLOW)
    assert [graph.count("tcae_ops.run") for graph in graphs] == [0, 1]


def test_environment_variable_chooses_the_backend(monkeypatch):
    monkeypatch.setattr(backends, "_override", "fast")  # the value of the variable at import
    with pytest.raises(ValueError, match="TCAE_OPS_BACKEND is 'fast', but must be one of"):
        tcae_ops.warp(IMAGE, FLOW)


def test_without_a_library_the_definition_runs(monkeypatch):
    monkeypatch.setattr(backends, "_override", None)
    monkeypatch.setattr(backends, "_fastest", {})
    monkeypatch.setattr(library.CPU, "problem", "no library was built")
    expected = tcae_ops.warp(IMAGE, FLOW, backend="reference")
    said = r"no kernels that can run on cpu: its definition .* 'cpp': no library was built"
    with pytest.warns(UserWarning, match=said):
        assert torch.equal(tcae_ops.warp(IMAGE, FLOW), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said
        tcae_ops.warp(IMAGE, FLOW)
    with pytest.raises(ValueError, match="backend 'cpp' cannot run: no library was built"):
        tcae_ops.warp(IMAGE, FLOW, backend="cpp")


def test_without_a_library_programs_compile_into_one_graph(monkeypatch):
    monkeypatch.setattr(backends, "_override", None)
    monkeypatch.setattr(backends, "_fastest", {})
    monkeypatch.setattr(library.CPU, "problem", "no library was built")
    torch._dynamo.reset()
    compiled = torch.compile(tcae_ops.warp, fullgraph=True, backend="eager")
    assert torch.equal(compiled(IMAGE, FLOW), tcae_ops.warp(IMAGE, FLOW, backend="reference"))


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_on_devices_without_kernels_the_definition_runs_and_says_so(monkeypatch, device):
    monkeypatch.setattr(backends, "_override", None)
    monkeypatch.setattr(backends, "_fastest", {})
    with pytest.warns(UserWarning, match=f"can run on {device}: its definition in plain torch"):
        chosen = backends.choose(torch.device(device), None)
    assert chosen is backends.BACKENDS["reference"]


def test_triton_that_cannot_run_says_why(monkeypatch):
    monkeypatch.setattr(triton, "PROBLEM", None)
    monkeypatch.setattr(triton, "INTERPRETED", False)
    message = (
        "'triton' cannot run: it is for cuda tensors, but the image is on cpu .*TRITON_INTERPRET"
    )
    with pytest.raises(ValueError, match=message):
        tcae_ops.warp(IMAGE, FLOW, backend="triton")
    monkeypatch.setattr(triton, "INTERPRETED", True)
    assert backends.why_not("triton", torch.device("cpu")) is None
    assert "but the image is on meta" in backends.why_not("triton", torch.device("meta"))
    monkeypatch.setattr(triton, "PROBLEM", "there is no triton")
    with pytest.raises(ValueError, match="'triton' cannot run: there is no triton"):
        tcae_ops.warp(IMAGE, FLOW, backend="triton")


@pytest.mark.parametrize(
    ("cuda_problem", "triton_problem", "interpreted", "chosen"),
    [
        (None, None, False, "cuda"),
        ("not built", None, False, "triton"),
        ("not built", None, True, "reference"),
        ("not built", "there is no triton", False, "reference"),
    ],
)
def test_what_runs_on_cuda_tensors(monkeypatch, cuda_problem, triton_problem, interpreted, chosen):
    monkeypatch.setattr(backends, "_override", None)
    monkeypatch.setattr(backends, "_fastest", {})
    monkeypatch.setattr(library.CUDA, "why_not", lambda index: cuda_problem)
    monkeypatch.setattr(triton, "PROBLEM", triton_problem)
    monkeypatch.setattr(triton, "INTERPRETED", interpreted)
    assert backends.choose(torch.device("cuda"), None) is backends.BACKENDS[chosen]
    assert backends.choose(torch.device("cpu"), None) is not backends.BACKENDS["triton"]


WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None
import torch, tcae_ops
from tcae_ops import triton
image = torch.rand(1, 1, 3, 3)
assert torch.equal(tcae_ops.warp(image, torch.zeros(1, 2, 3, 3)), image)
print(triton.PROBLEM)
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (WITHOUT_TRITON, "there is no triton; run `pip install triton`"),
        ("import sys, tcae_ops; print('triton' in sys.modules)", "False"),
    ],
)
def test_triton_is_not_needed_and_not_loaded(program, said):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == said, done.stderr
