from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist

from tcae.distributed import roll_call
from tcae.distributed.roll_call import RollCall


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(roll_call, "_SECONDS", 0.5)


def test_who_does_not_sign_is_missing_everywhere():
    store = dist.HashStore()
    with ThreadPoolExecutor(3) as pool:
        calls = [RollCall(store, rank, 5) for rank in (0, 2, 3)]
        assert [*pool.map(RollCall.missing, calls)] == [[1, 4]] * 3


def test_nobody_is_missing_if_all_sign():
    store = dist.HashStore()
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(lambda rank: RollCall(store, rank, 2).missing(), range(2))] == [[], []]


def test_all_wait_for_the_last_to_start():
    store, started = dist.HashStore(), []

    def start(rank):
        RollCall(store, rank, 2).wait_for_all()
        started.append(rank)

    first = threading.Thread(target=start, args=(0,))
    first.start()
    first.join(0.2)
    assert started == []
    start(1)
    first.join()
    assert sorted(started) == [0, 1]


class Gone(dist.HashStore):
    def set(self, key, value):
        raise dist.DistNetworkError("the store has gone")


class Stopped(dist.HashStore):
    def set(self, key, value):
        threading.Event().wait(60)


@pytest.mark.parametrize("store", [Gone, Stopped])
def test_nobody_is_named_if_the_store_does_not_answer(store):
    assert RollCall(store(), 0, 2).missing() == []
