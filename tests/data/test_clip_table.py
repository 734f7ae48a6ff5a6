from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcae.data.clip_table import ClipTable
from tcae.data.shard_files import Clip

# Names of files may be in any encoding, of which surrogates are left.
name = st.text(st.characters(codec=None), max_size=3) | st.sampled_from(["a", "b", "\udcff"])


@given(st.sets(st.builds(Clip, name, name, name)))
def test_it_is_the_list_of_its_clips(clips):
    truth = sorted(clips)
    table = ClipTable.of(truth)
    assert len(table) == len(truth)
    assert list(table) == truth
    assert [table[i] for i in range(-len(truth), len(truth))] == truth + truth
    assert list(table.identities) == sorted({clip.identity for clip in truth})
    assert len(table.videos) == len({clip[:2] for clip in truth})
    for i, clip in enumerate(truth):
        assert table.identity(i) == table.identities[table.person_numbers()[i]] == clip.identity
        assert table.videos[table.video_numbers()[i]] == clip.video
    with pytest.raises(IndexError):
        table[len(truth)]
