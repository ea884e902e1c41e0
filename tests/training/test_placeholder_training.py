"""`placeholder_space` in recipes, trainer, data and the stock collator."""

import pytest
import yaml
from small_triplets import row, tiny_model

from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.training import StockCollator, SynViTAConfig, TripletData
from synvita_data.training.lora import make_trainable
from synvita_data.training.recipe import own_recipes


def model(space: str) -> AlignmentModel:
    """Around the same tiny weights as all others."""
    family = tiny_model().family
    return AlignmentModel(family.model, family.processor, placeholder_space=space)


def test_recipes_that_follow_the_released_code_read_prompts_as_it_does():
    spaces = {
        name: yaml.safe_load(path.read_text()).get("placeholder_space")
        for name, path in own_recipes().items()
    }
    released = {name for name in spaces if name.endswith("synvita-released")}
    assert {"video-llava/synvita-released", "mplug-owl/synvita-released"} <= released
    originals = released | {"video-llava-original/synvita"}  # the original network reads nothing else
    assert {name for name, space in spaces.items() if space == "original"} == originals
    assert {space for name, space in spaces.items() if name not in originals} == {None}


def test_the_trainers_model_reads_as_its_config_says(tmp_path):
    config = SynViTAConfig(output_dir=str(tmp_path), placeholder_space="original", use_cpu=True)
    family = tiny_model().family
    made = make_trainable(
        family.model,
        family.processor,
        SynViTAConfig(
            output_dir=str(tmp_path), placeholder_space="original", use_cpu=True, tune="language-model"
        ),
    )
    assert made.prompter.behind_video["tokens"][:2] == ["▁", "<0x0A>"]
    with pytest.raises(SynvitaError, match="placeholder_space"):
        SynViTAConfig(output_dir=str(tmp_path), placeholder_space="legacy", use_cpu=True)
    # Data made for the other reading is refused.
    for space in ("processor", "original"):
        data = TripletData([row(0)], model(space), **config.data_arguments(family))
        if space == "original":
            data.check_same(made, config.data_arguments(family))
        else:
            with pytest.raises(SynvitaError, match="placeholder_space 'processor'"):
                data.check_same(made, config.data_arguments(family))


@pytest.mark.parametrize("space", ["processor", "original"])
def test_the_stock_collators_rows(space):
    family = tiny_model().family
    collator = StockCollator(family.model, family.processor, placeholder_space=space)
    data = TripletData([row(0)], collator.preparer(), nle_share=0, weighting="fixed")
    assert data.preparer.family.placeholder_space == space
    ids = collator([data[0]])["input_ids"][0].tolist()
    own = model(space)
    prepared = data[0].real
    expected = own.prompter.tokens(data[0].texts[0], None, prepared).ids.tolist()
    assert ids[: len(expected)] == expected
    behind = expected[max(i for i, number in enumerate(expected) if number == family.video_token_id) + 1]
    assert family.tokenizer.convert_ids_to_tokens(behind) == ("▁" if space == "original" else "<0x0A>")


def test_the_stock_collator_refuses_other_names():
    family = tiny_model().family
    with pytest.raises(SynvitaError, match="unknown placeholder_space"):
        StockCollator(family.model, family.processor, placeholder_space="legacy")
