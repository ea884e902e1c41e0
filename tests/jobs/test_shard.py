"""Shards: how they are written, and that they part the keys."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.errors import EngineError
from synvita_data.jobs import Shard


@pytest.mark.parametrize(("text", "shard"), [("0/1", (0, 1)), ("2/8", (2, 8)), (" 07 / 10 ", (7, 10))])
def test_shards_are_read(text, shard):
    assert (Shard.parse(text).index, Shard.parse(text).count) == shard


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/3", "-1/3", "1/0", "0/0", "8/8", "9/8", "1/2/3", "1.0/2", "١/٢"]
)
def test_other_texts_are_refused_with_the_form(text):
    with pytest.raises(EngineError, match="0 <= I < N, such as 0/8 to 7/8"):
        Shard.parse(text)


@given(st.lists(st.text(), unique=True), st.integers(1, 20))
def test_shards_are_disjoint_cover_all_and_keep_the_order(keys, count):
    parts = [Shard(index, count).take(keys) for index in range(count)]
    assert sorted(key for part in parts for key in part) == sorted(keys)
    for part in parts:
        assert part == [key for key in keys if key in set(part)]


@given(st.lists(st.text(st.characters(codec="utf-8")), unique=True, min_size=1), st.integers(1, 7), st.data())
def test_a_key_stays_in_its_shard_whatever_the_others_are(keys, count, data):
    key = data.draw(st.sampled_from(keys))
    own = int(hashlib.sha256(key.encode()).hexdigest()[:40], 16) % count
    for index in range(count):
        assert (key in Shard(index, count).take(keys)) == (index == own)


def test_shards_of_many_keys_are_of_like_size():
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(8000)]
    sizes = [len(Shard(index, 8).take(keys)) for index in range(8)]
    assert max(sizes) < 1.1 * 1000
    assert min(sizes) > 0.9 * 1000
