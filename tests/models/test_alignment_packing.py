"""Packing by brute force: every token of a branch sees what it sees in its own plain sequence."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.models import choose_strategy
from synvita_data.models.prompting import PromptTokens
from synvita_data.models.strategies import branch_mask, chunks, common_prefix, pack

sequences = st.lists(st.integers(0, 2), min_size=2, max_size=9)


@st.composite
def prompts(draw):
    """A few prompts with few different tokens; some tokens hidden, never the last."""
    made = []
    for ids in draw(st.lists(sequences, min_size=1, max_size=4)):
        hidden = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
        hidden[-1] = False
        made.append(PromptTokens(np.array(ids), np.array(hidden), (len(ids) - 1,)))
    return made


def longest_shared(made) -> int:
    """Grow the prefix while all agree, nothing is hidden, and every prompt keeps its last token."""
    length = 0
    while all(
        length < len(p.ids) - 1 and not p.hidden[length] and p.ids[length] == made[0].ids[length]
        for p in made
    ):
        length += 1
    return length


@given(prompts())
def test_a_prefix_is_what_all_share(made):
    assert common_prefix(made) == longest_shared(made)


@given(prompts())
def test_every_token_sees_what_it_sees_alone(made):
    packed = pack(made)
    assert packed.prefix == longest_shared(made)
    mask = branch_mask(torch.from_numpy(packed.branch)).numpy()
    assert mask.any(axis=1).all()  # no row is empty
    for number, prompt in enumerate(made):
        own = [i for i in range(len(packed)) if packed.branch[i] in (-1, number)]
        slots = [int(packed.slots[i]) for i in own]
        # All tokens of the prompt that attention may see are there, each in its slot, once.
        assert slots == [i for i in range(len(prompt.ids)) if not prompt.hidden[i]]
        assert [int(packed.ids[i]) for i in own] == [int(prompt.ids[i]) for i in slots]
        for i in own:
            seen = {(int(packed.slots[j]), int(packed.ids[j])) for j in np.flatnonzero(mask[i])}
            alone = {(j, int(prompt.ids[j])) for j in range(int(packed.slots[i]) + 1) if not prompt.hidden[j]}
            assert seen == alone
        (read,) = packed.reads[number]
        assert packed.branch[read] == number
        assert packed.slots[read] == len(prompt.ids) - 1


@given(prompts(), st.integers(0, 9))
def test_a_mask_from_a_row_on_is_the_end_of_the_whole(made, first):
    branch = torch.from_numpy(pack(made).branch)
    first = min(first, len(branch))
    assert torch.equal(branch_mask(branch, first), branch_mask(branch)[first:])


@given(prompts(), st.integers(1, 12))
def test_chunks_keep_order_and_limit(made, limit):
    prefix = common_prefix(made)
    groups = chunks(made, prefix, limit)
    assert [p for group in groups for p in group] == made
    for group in groups:
        assert len(group) == 1 or sum(len(p.ids) - prefix for p in group) <= limit


def test_the_way_follows_from_counts_and_gradients():
    assert choose_strategy([1, 1], gradients=False) == "plain"
    assert choose_strategy([2, 4], gradients=True) == "packed"
    assert choose_strategy([2, 4], gradients=False) == "packed"
    assert choose_strategy([100], gradients=True) == "packed"
    assert choose_strategy([1, 49], gradients=False) == "cached"
