from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcae.data.clip_table import ClipTable
from tcae.data.shard_files import Clip
from tcae.data.split_frames import SplitFrames
from tcae.data.splits import SPLITS, split_of

clip = st.builds(Clip, st.sampled_from("abcdefgh"), st.sampled_from("vw"), st.sampled_from("01"))


@given(
    st.dictionaries(clip, st.integers(0, 9)),
    st.sampled_from(SPLITS),
    st.sampled_from(["identity", "time"]),
    st.sampled_from(["track", "video"]),
)
def test_frames_groups_and_people_by_their_definition(lengths, split, by, same):
    clips = sorted(lengths)
    of = [c for c in clips for _ in range(lengths[c])]  # each frame's clip
    low, high = {"train": (0, 0.75), "val": (0.75, 0.9), "test": (0.9, 1)}[split]

    def inside(i):
        c = of[i]
        if by == "identity":
            return split_of(c.identity, 3) == split
        n, place = lengths[c], i - of.index(c)
        return math.ceil(n * low) <= place < math.ceil(n * high)

    def group(i):
        return of[i] if same == "track" else of[i][:2]

    chosen = [i for i in range(len(of)) if inside(i)]
    chosen = [i for i in chosen if sum(group(k) == group(i) for k in chosen) > 1]

    starts = np.cumsum([0, *(lengths[c] for c in clips)])
    dataset = SimpleNamespace(clips=ClipTable.of(clips), clip_starts=lambda: starts)
    frames = SplitFrames(dataset, split, by, 3, same)
    assert len(frames) == len(chosen)
    assert frames[np.arange(len(frames))].tolist() == chosen
    groups = list(dict.fromkeys(map(group, chosen)))
    assert frames.groups_of(np.array(chosen, np.int64)).tolist() == [
        groups.index(group(i)) for i in chosen
    ]
    people = list(dict.fromkeys(of[i].identity for i in chosen))
    assert frames.identities == people
    for starts_of, key, found in (
        (frames.groups, group, groups),
        (frames.persons, lambda i: of[i].identity, people),
    ):
        assert len(starts_of) == len(found)
        for k, name in enumerate(found):
            start, end = frames.bounds(starts_of, k)
            assert [key(i) for i in chosen] == [
                name if start <= place < end else key(i) for place, i in enumerate(chosen)
            ]
            assert sum(key(i) == name for i in chosen) == end - start
