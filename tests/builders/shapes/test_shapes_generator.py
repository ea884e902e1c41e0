"""The generator films what it is asked, but for its faults, which come at their rates and are noted."""

import random
from collections import Counter

import numpy as np
import pytest

from synvita_data.builders.shapes.generator import FAULTS, generate, misunderstand
from synvita_data.builders.shapes.grammar import parse
from synvita_data.builders.shapes.pixels import SYNTHETIC, render
from synvita_data.builders.shapes.world import draw_pairs
from synvita_data.errors import CaptionError

NO_FAULTS = dict.fromkeys(FAULTS, 0.0)
# A caption on which each kind of fault can show.
OFFERING = {
    "action": "A red circle spins.",
    "attribute": "A red circle spins.",
    "count": "Three red circles spin.",
    "flip": "First a red circle spins, then a blue star grows.",
    "hallucination": "A red circle spins while a blue star grows.",
    "object": "A red circle spins.",
    "relation": "A red circle is above a blue star.",
}


def test_without_faults_it_films_the_caption():
    for pair in draw_pairs(40, seed=5):
        caption = pair.triplet.neg_caption
        clip = generate(caption, seed=1, pair_id=pair.triplet.pair_id, faults=NO_FAULTS)
        assert clip.faults == ()
        assert clip.shown == caption
        assert (clip.pixels == render(parse(caption), clip.seed, SYNTHETIC)).all()


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_comes_at_its_rate(kind):
    scene, trials = parse(OFFERING[kind]), 2000
    only = {**NO_FAULTS, kind: FAULTS[kind]}
    hits = sum(misunderstand(scene, random.Random(k), only)[1] == (kind,) for k in range(trials))
    sigma = np.sqrt(FAULTS[kind] * (1 - FAULTS[kind]) / trials)
    assert abs(hits / trials - FAULTS[kind]) < 4 * sigma


def test_order_and_additions_go_wrong_more_often_than_colours():
    counts, offered = Counter(), Counter()
    for pair in draw_pairs(1400, seed=2):
        _, kinds = misunderstand(pair.contrast, random.Random(pair.triplet.pair_id))
        offered[pair.triplet.misalignment] += 1
        counts[pair.triplet.misalignment] += pair.triplet.misalignment in kinds
    share = {kind: counts[kind] / offered[kind] for kind in offered}
    assert share["attribute"] < 0.12 < 0.2 < min(share["hallucination"], share["flip"])


def test_what_is_shown_differs_exactly_where_a_fault_is_noted():
    for pair in draw_pairs(300, seed=9):
        shown, kinds = misunderstand(pair.contrast, random.Random(pair.triplet.pair_id))
        assert (shown != pair.contrast) == bool(kinds)
        assert kinds == tuple(sorted(set(kinds)))


def test_raising_one_rate_moves_no_other_fault():
    louder = {**FAULTS, "attribute": 1.0}
    for k, pair in enumerate(draw_pairs(200, seed=4)):
        quiet = misunderstand(pair.contrast, random.Random(k))[1]
        loud = misunderstand(pair.contrast, random.Random(k), louder)[1]
        assert set(loud) == {*quiet, "attribute"}


def test_a_clip_depends_on_seed_pair_and_sample_only():
    def clip(**changes):
        return generate("A red star spins.", **{"seed": 0, "pair_id": "p", "sample": 1, **changes})

    first = clip()
    assert (first.pixels == clip().pixels).all()
    assert first.seed == clip().seed
    others = [clip(seed=1), clip(pair_id="q"), clip(sample=2)]
    assert len({first.seed, *(other.seed for other in others)}) == 4
    assert all((first.pixels != other.pixels).any() for other in others)
    assert 0 <= first.seed < 2**63


def test_a_caption_of_another_world_is_refused():
    with pytest.raises(CaptionError, match="shapes world"):
        generate("A man is talking.", seed=0, pair_id="p")
