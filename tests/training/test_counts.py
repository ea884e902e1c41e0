"""What a loss is divided by, and what is checked of triplets before it, on batches counted by hand."""

import math
from dataclasses import replace

import pytest
import torch

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import PreparedVideo
from synvita_data.training.data import TrainingTriplet
from synvita_data.training.objective import Counts, Objective, Supervision

VIDEO = PreparedVideo({}, "<video>", (1,))
TEXTS = (Text("a dog"), Text("a cat"), Text("a dog", ((2, 5),)), Text("a cat", ((2, 5),)))
FULL = TrainingTriplet("row", "pair", TEXTS, VIDEO, VIDEO, 0.5, True, "It is a dog.")
BATCH = [
    FULL,
    replace(FULL, takes_real=False, explanation=None),  # another synthetic video of the same pair
    replace(FULL, real=None, takes_real=False),  # its explanation has no video to be about
    replace(FULL, synthetic=None, weight=0.0, explanation=None),
    replace(FULL, synthetic=None, weight=0.0, zero_weight=True),
]


def test_counts_of_every_kind_of_triplet():
    # Texts answered: 2 real + 2 synthetic; 2; 2; 2; 2 + the 2 of the video of weight 0.
    # Half-triplets: 2; 2; the synthetic half alone; none; the 2 of weight 0.
    assert Objective().counts(BATCH) == Counts(5, 4 + 2 + 2 + 2 + 4, 2 + 2 + 1 + 0 + 2, 0)
    assert Objective(answer_loss="token").counts(BATCH) == Objective().counts(BATCH)
    two = Objective(answer_loss="token-and-end").counts(BATCH, lambda t: len(t.explanation))
    assert two == Counts(5, 2 * 14, 7, 2 * len("It is a dog."))


def test_counts_add_over_batches_and_processes():
    parts = [Objective().counts([triplet]) for triplet in BATCH]
    assert sum(parts, Counts()) == Objective().counts(BATCH)
    tensor = torch.stack([part.tensor() for part in parts])
    assert tensor.dtype == torch.int64
    assert Counts.from_tensor(tensor.sum(0)) == Objective().counts(BATCH)


def test_supervision_of_every_kind_of_triplet():
    given = Supervision.of(BATCH)
    assert given.present.tolist() == [[True, True], [True, True], [False, True], [True, False], [True, False]]
    assert given.weight.tolist() == [0.5, 0.5, 0.5, 0.0, 0.0]
    assert given.takes_real.tolist() == [True, False, False, True, True]
    assert given.has_synthetic.tolist() == [True, True, True, False, True]
    # What is scored: of a pair whose L_real another row takes, the real video only for L_scr.
    needed = given.needed()
    assert needed.sum((1, 2)).tolist() == [8, 8, 4, 2, 2]
    assert given.needed(consistency=False).sum((1, 2)).tolist() == [4, 2, 2, 2, 2]


@pytest.mark.parametrize("weight", [-0.1, 1.0001, math.nan, math.inf])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(SynvitaError, match=r"row 7: a weight is outside \[0, 1\]"):
        Supervision.of([FULL, replace(FULL, row_id="7", weight=weight)])


def test_triplets_that_contradict_themselves_are_refused():
    with pytest.raises(SynvitaError, match="without a real video takes L_real"):
        Supervision.of([replace(FULL, real=None)])
    with pytest.raises(SynvitaError, match="without a synthetic video has a weight"):
        Supervision.of([replace(FULL, synthetic=None)])
    with pytest.raises(SynvitaError, match="unknown answer_loss"):
        Objective(answer_loss="mse")
