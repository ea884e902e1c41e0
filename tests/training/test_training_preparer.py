"""`VideoPreparer`: every family prepares videos without its weights, here and in another process."""

import pickle

import pytest
import torch
from small_triplets import mp4, row, tiny_model

from synvita_data.models import FAMILIES
from synvita_data.models.videos import VideoPreparer
from synvita_data.training import TripletData
from synvita_data.video import decode


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_prepares_what_its_model_would(family):
    model = tiny_model(family)
    sent = pickle.dumps(VideoPreparer.of(model))
    preparer = pickle.loads(sent)  # noqa: S301
    expected = model.prepare(decode(mp4(0), model.family.default_frames()))
    found = preparer.read({"bytes": mp4(0), "path": None})
    assert found.placeholder == expected.placeholder
    assert found.runs == expected.runs
    assert found.inputs.keys() == expected.inputs.keys()
    for name, value in expected.inputs.items():
        assert torch.equal(found.inputs[name], value)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_trains_on_its_triplets(family):
    """Texts checked by the family's own prompts, and the triplet scored."""
    model = tiny_model(family)
    triplet = TripletData([row(0)], model)[0]
    with torch.no_grad():
        odds = model([triplet.real, triplet.synthetic], [triplet.texts] * 2).log_odds
    assert odds.shape == (8,)
    assert odds.isfinite().all()
