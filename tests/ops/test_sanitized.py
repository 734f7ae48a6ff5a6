"""Memory and arithmetic of the C++ kernels are watched while the case table runs.

AddressSanitizer and UndefinedBehaviorSanitizer watch a library that is compiled for them. The fence
(sanitized/fence.c) watches the library in use, with vector instructions that sanitizers cannot see.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tcae_ops
from tcae_ops.library import SIMD_LEVELS
from tcae_ops.version import VERSION

ROOT = Path(__file__).parents[2]
# The case table, without cases that make no difference here.
TESTS = [ROOT / "tests/ops/test_cases.py", "-k"]
TESTS += [
    "not reference and not on_host and not .float16 and not float64 "
    "and (contiguous or last or sliced)"
]
# Sanitizers see all of the portable code, and of vectors nothing that the fence does not see.
with_vectors = pytest.mark.parametrize(
    "level", [level for level in SIMD_LEVELS if level != "portable"], indirect=True
)
pytestmark = pytest.mark.usefixtures("cpp")

# Reads one number beyond the end of the image.
STRAY = """
import torch, tcae_ops
from tcae_ops import library
print(library.CPU.path)
image, flow = torch.rand(1, 1, 4, 5), torch.zeros(1, 2, 4, 5)
assert torch.equal(tcae_ops.warp(image, flow, backend="cpp"), image)
image.untyped_storage().resize_(image.nbytes - 4)
print("strays", flush=True)
tcae_ops.warp(image, flow, backend="cpp")
print("was not stopped")
"""

# Reads numbers from an odd address, which is undefined although processors here do it.
SKEWED = """
import torch, tcae_ops
image, flow = torch.rand(1, 1, 4, 5), torch.zeros(1, 2, 4, 5)
assert torch.equal(tcae_ops.warp(image, flow, backend="cpp"), image)
memory = bytearray(image.nbytes + 1)
skewed = torch.frombuffer(memory, dtype=torch.float32, offset=1).view(1, 1, 4, 5)
print("is skewed", flush=True)
tcae_ops.warp(skewed, flow, backend="cpp")
print("was not stopped")
"""


def run(*arguments, check=True, **options):
    return subprocess.run(arguments, check=check, capture_output=True, text=True, **options)


def compiler():
    """Return the C++ compiler that CMake uses."""
    path = shutil.which(os.environ.get("CXX", "c++"))
    if path is None or not sys.platform.startswith("linux"):
        pytest.skip("this needs Linux and a C++ compiler")
    return path


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The folder of a package with a sanitized library, and its environment variables."""
    folder = tmp_path_factory.mktemp("sanitized")
    trial = folder / "trial.cpp"
    trial.write_text("int main() {}")
    flags = ["-fsanitize=address,undefined", "-o", str(folder / "trial")]
    if run(compiler(), trial, *flags, check=False).returncode != 0:
        pytest.skip("the compiler has no sanitizers")
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cmake, ninja = (shutil.which(name, path=scripts) for name in ("cmake", "ninja"))
    if cmake is None or ninja is None:
        pytest.skip("cmake or ninja is missing; they come with `pip install '.[test]'`")
    source = Path(tcae_ops.__file__).parent
    package = folder / "tcae_ops"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (package / "build.json").write_text(json.dumps({"version": VERSION}))
    definitions = {
        "CMAKE_BUILD_TYPE": "Sanitize",
        "CMAKE_INSTALL_PREFIX": package,
        "CMAKE_MAKE_PROGRAM": ninja,
        "TCAE_OPS_DEVICE": "cpu",
        "TCAE_OPS_TORCH": Path(torch.__file__).parent,
    }
    options = [f"-D{name}={value}" for name, value in definitions.items()]
    run(cmake, "-S", ROOT, "-B", folder / "build", "-G", "Ninja", *options)
    run(cmake, "--build", folder / "build", "--target", "install")
    library = package / "libtcae_ops_cpu.so"
    assert b"__asan_report_load" in library.read_bytes()
    assert b"__ubsan_handle" in library.read_bytes()
    needs = dict(re.findall(r"(lib\w+(?:\+\+)?)\.so\S* => (/\S+)", run("ldd", library).stdout))
    if "libasan" not in needs:
        pytest.skip("the compiler's sanitizers are not shared libraries")
    return folder, {
        "LD_PRELOAD": f"{needs['libasan']} {needs['libstdc++']}",
        "ASAN_OPTIONS": "detect_leaks=0",  # Python leaks on purpose
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


@pytest.fixture(scope="module")
def fence(tmp_path_factory):
    """The compiled fence."""
    library = tmp_path_factory.mktemp("fence") / "fence.so"
    source = ROOT / "tests/ops/sanitized/fence.c"
    run(compiler(), "-x", "c", "-O1", "-shared", "-fPIC", source, "-o", library, "-ldl")
    return library


def watched(folder, environment, *arguments):
    """Run Python with the packages in `folder` before all others."""
    path = f"{folder}{os.pathsep}{ROOT}"
    return run(
        sys.executable,
        *arguments,
        check=False,
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": path},
    )


def case_table(folder, environment, level):
    """Run the case table on one instruction set, or on the best that this machine has."""
    options = [
        "-q",
        "-x",
        "--rootdir",
        ROOT,
        "-c",
        ROOT / "pyproject.toml",
        "-p",
        "no:cacheprovider",
    ]
    done = watched(
        folder,
        {**environment, "TCAE_OPS_SIMD": level},
        *("-m", "pytest", *options, *TESTS),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


def test_sanitizers_find_nothing_in_the_case_table(sanitized):
    case_table(*sanitized, "portable")


def test_sanitizers_stop_what_strays(sanitized):
    folder, environment = sanitized
    done = watched(folder, {**environment, "TCAE_OPS_SIMD": "portable"}, "-c", STRAY)
    library, *rest = done.stdout.split()
    assert Path(library) == folder / "tcae_ops/libtcae_ops_cpu.so"
    assert rest == ["strays"]
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert done.returncode != 0


def test_sanitizers_stop_what_is_undefined(sanitized):
    folder, environment = sanitized
    done = watched(folder, {**environment, "TCAE_OPS_SIMD": "portable"}, "-c", SKEWED)
    assert done.stdout == "is skewed\n"
    assert re.search(r"runtime error: .* misaligned address", done.stderr)
    assert done.returncode != 0


@pytest.mark.parametrize("where", ["behind", "before"])
@with_vectors
def test_case_table_stays_inside_the_fence(fence, tmp_path, level, where):
    case_table(tmp_path, {"LD_PRELOAD": str(fence), "FENCE": where}, level)


@with_vectors
def test_fence_stops_what_strays(fence, tmp_path, level):
    done = watched(tmp_path, {"LD_PRELOAD": str(fence), "TCAE_OPS_SIMD": level}, "-c", STRAY)
    assert done.stdout.split()[1:] == ["strays"]
    assert done.returncode != 0
