"""What doctor reads in a source file instead of importing it is what importing gives."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from synvita_data.training.needs import training_types
from synvita_data.training.recipe import _plain_types, own_recipes, read_recipe


def test_the_keys_of_a_recipe_are_the_fields_of_its_configuration():
    from synvita_data.training.config import SynViTAConfig

    ours, hints = training_types(), get_type_hints(SynViTAConfig)
    assert set(ours) == {each.name for each in fields(SynViTAConfig)}
    for each in fields(SynViTAConfig):
        plain = {kind for kind in _plain_types(hints[each.name]) if kind.__module__ == "builtins"}
        assert plain <= _plain_types(ours[each.name]), each.name


@pytest.mark.parametrize("name", own_recipes())
def test_a_recipe_reads_as_the_trainer_reads_it(name):
    from synvita_data.training.config import SynViTAConfig

    ours = read_recipe(name, training_types=training_types())
    assert ours == read_recipe(name, training_types=get_type_hints(SynViTAConfig))
