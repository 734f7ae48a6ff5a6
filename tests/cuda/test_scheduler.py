"""The scheduler and the sanitizers find errors in small kernels, each named for its error."""

import subprocess

import pytest
from host import build

RIGHT = "no error: 2016 2016 2016, 192\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function that runs a kernel of faulty_kernels.cpp and returns what was reported."""
    reason = build.why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("faulty_kernels")
    programs = {}

    def run(kernel, flavour, seed=0):
        if flavour not in programs:
            programs[flavour] = build.build_program(
                build.HERE / "faulty_kernels.cpp", flavour, folder
            )
        done = subprocess.run(
            [programs[flavour], kernel, str(seed)],
            capture_output=True,
            text=True,
            env=dict(build.FLAVOURS[flavour].environment),
        )
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("flavour", build.FLAVOURS)
@pytest.mark.parametrize("kernel", ["right", "right_launched"])
def test_right_kernels_are_right_in_every_order(run, kernel, flavour):
    for seed in range(10):
        said = run(kernel, flavour, seed)
        assert said.startswith(RIGHT)
        assert "ERROR" not in said
        assert "data race" not in said


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ("barrier_for_some", "hangs: 40 threads (0 is one) at the barrier faulty_kernels.cpp:"),
        ("barrier_for_some", "24 threads (40 is one) at their end"),
        ("two_barriers", "waits at another barrier than the rest of its block"),
        ("shuffle_for_some", "8 threads (32 is one) in the shuffle faulty_kernels.cpp:"),
        ("shuffle_of_others", "is not in the mask of its own shuffle"),
        ("default_stream", "invalid resource handle"),
        ("too_many", "invalid configuration argument"),
        ("too_much_shared", "invalid argument"),
    ],
)
def test_what_would_hang_or_be_refused_is_reported(run, kernel, said):
    assert said in run(kernel, "plain")


@pytest.mark.parametrize("kernel", ["no_barrier", "shuffle_for_a_barrier", "no_barrier_launched"])
def test_order_is_random(run, kernel):
    """Without a barrier the result depends on the order: shared memory begins as NaN."""
    results = {run(kernel, "plain", seed) for seed in range(20)}
    assert len(results) > 1
    assert any("nan" in result for result in results)


@pytest.mark.parametrize("kernel", ["no_first_value", "no_first_value_launched"])
def test_shared_memory_is_new_to_each_block(run, kernel):
    assert run(kernel, "plain") == "no error: -nan -nan -nan, 0\n"


@pytest.mark.parametrize(
    "kernel",
    [
        "no_barrier",
        "shuffle_for_a_barrier",
        "no_barrier_launched",
        "blocks_write_the_same",
        "plain_sum",
    ],
)
def test_races_are_found_in_any_order(run, kernel):
    for seed in range(5):
        assert "ThreadSanitizer: data race" in run(kernel, "races", seed)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ("behind_the_end", "AddressSanitizer: heap-buffer-overflow"),
        ("behind_shared", "out of bounds for type 'double [2]'"),
        ("behind_launched", "AddressSanitizer: heap-buffer-overflow"),
        ("misaligned", "store to misaligned address"),
    ],
)
def test_stray_accesses_are_found(run, kernel, said):
    assert said in run(kernel, "memory")
