"""What doctor reads in source files instead of importing them is what importing gives."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from synvita_data.doctor.video_llms import family_facts
from synvita_data.models.families import FAMILIES, get_family
from synvita_data.training.needs import training_types
from synvita_data.training.recipe import own_recipes, read_recipe


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_says_in_its_source_what_its_class_says(model_type):
    family, facts = get_family(model_type), family_facts(model_type)
    assert facts.prompt == family.default_prompt
    assert facts.advice == family.advice
    assert facts.preprocesses == tuple(getattr(family, "preprocesses", ()))
    assert facts.frames
    try:
        policy = family.default_frames(None).to_dict()
    except AttributeError:  # part of it depends on the checkpoint
        assert {"count", "rule"} <= set(facts.frames)
        return
    assert facts.frames == {name: policy[name] for name in facts.frames}
    named = {name for name, value in policy.items() if value is not None} & {"count", "fps"}
    assert named <= set(facts.frames)


def test_what_is_no_family_has_no_facts():
    assert family_facts("bert") is None
    assert family_facts(None) is None


def test_the_keys_of_a_recipe_are_the_fields_of_its_configuration():
    from synvita_data.training.config import SynViTAConfig

    assert set(training_types()) == {each.name for each in fields(SynViTAConfig)}


@pytest.mark.parametrize("name", own_recipes())
def test_a_recipe_reads_as_the_trainer_reads_it(name):
    from synvita_data.training.config import SynViTAConfig

    ours = read_recipe(name, training_types=training_types())
    assert ours == read_recipe(name, training_types=get_type_hints(SynViTAConfig))
