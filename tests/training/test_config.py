"""`SynViTAConfig`: parsed from a command line, checked when made, and what it hands to the data."""

import dataclasses
import inspect

import pytest

from synvita_data.captions.lcs import GRANULARITIES
from synvita_data.errors import SynvitaError
from synvita_data.training import SynViTAConfig, TripletData
from synvita_data.training import config as module


def make(tmp_path, **changes):
    return SynViTAConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, **changes)


def own_fields():
    from transformers import TrainingArguments

    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    return [field for field in dataclasses.fields(SynViTAConfig) if field.name not in inherited]


def test_every_field_says_what_it_is_and_what_the_paper_used():
    assert len(own_fields()) > 20
    for field in own_fields():
        text = field.metadata["help"]
        assert text.rstrip(".") != field.name
        assert "Paper" in text, field.name


def test_defaults_are_the_papers(tmp_path):
    config = make(tmp_path)
    assert (config.margin, config.scr_weight) == (0.2, 1.0)
    assert (config.lora_r, config.lora_alpha, config.lora_dropout) == (32, 32, 0.05)
    assert (config.normalisation, config.answer_loss) == ("paper", "two-way")
    assert (config.num_train_epochs, config.learning_rate, str(config.lr_scheduler_type.value)) == (
        1.0,
        5e-5,
        "cosine",
    )
    assert config.remove_unused_columns is False
    assert config.consistency
    assert config.explains


def test_the_command_line(tmp_path):
    from transformers import HfArgumentParser

    from synvita_data.training.data.only import check_only

    line = (
        f"--output_dir {tmp_path} --scr_weight 0.01 --weighting product --answer_loss token-and-end --frames 4 "
        "--use_synthetic false --prompt question --tune language-model --report_to none --use_cpu true "
        "--gradient_checkpointing true --misalignments flip action --frozen_dropout true"
        ' --only {"source":["tempo"],"weight":{"min":0.5}}'
    )
    (config,) = HfArgumentParser(SynViTAConfig).parse_args_into_dataclasses(line.split())
    assert (config.scr_weight, config.weighting, config.answer_loss) == (0.01, "product", "token-and-end")
    assert (config.frames, config.use_synthetic, config.prompt, config.tune) == (
        4,
        False,
        "question",
        "language-model",
    )
    assert config.gradient_checkpointing
    assert config.frozen_dropout
    assert config.misalignments == ["flip", "action"]
    assert check_only(config.only) == {"source": ["tempo"], "weight": {"min": 0.5}}


def test_no_warning_for_checkpointing_by_its_old_name(tmp_path, recwarn):
    config = make(
        tmp_path, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    assert config.gradient_checkpointing
    assert config.gradient_checkpointing_kwargs == {"use_reentrant": False}
    assert not [warning for warning in recwarn if "gradient_checkpointing" in str(warning.message)]


def test_names_known_elsewhere():
    assert module.GRANULARITIES == GRANULARITIES


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"margin": -0.1}, ["margin", "-0.1", "0 to 1"]),
        ({"margin": float("nan")}, ["margin", "nan"]),
        ({"scr_weight": -1.0}, ["scr_weight", "-1"]),
        ({"scr_weight": float("inf")}, ["scr_weight", "inf"]),
        ({"nle_share": 1.5}, ["nle_share", "1.5"]),
        ({"nle_weight": -1}, ["nle_weight"]),
        ({"nle_weight": -1, "nle_share": 0.0}, ["nle_weight", "-1"]),
        ({"nle_share": "half"}, ["nle_share", "half", "0 to 1"]),
        ({"max_unreadable": None}, ["max_unreadable", "0 to 1"]),
        ({"misalignments": ["verb"]}, ["misalignment", "'verb'", "action, attribute, count"]),
        ({"misalignments": []}, ["misalignment", "[]"]),
        ({"only": {"sources": ["tempo"]}}, ["column to choose rows by", "'sources'", "source, video_id"]),
        ({"only": {}}, ["only is not a mapping of columns"]),
        ({"only": "source=tempo"}, ["only is not a mapping of columns", "source=tempo"]),
        ({"only": {"source": []}}, ["only: source cannot be chosen by that", "[]"]),
        ({"only": {"misalignment": "verb"}}, ["only: misalignment", "action, attribute"]),
        ({"only": {"hard": "yes"}}, ["only: hard", "true or false"]),
        ({"only": {"weight": {"min": 0.5, "max": 0.25}}}, ["only: weight", "min not above max"]),
        ({"only": {"weight": {"above": 0.5}}}, ["only: weight", "{min: NUMBER"]),
        ({"only": {"weight": 0.5}}, ["only: weight", "0.5"]),
        ({"lora_r": 0}, ["lora_r", "0"]),
        ({"lora_dropout": 1.0}, ["lora_dropout"]),
        ({"frames": 0}, ["frames"]),
        ({"weighting": "median"}, ["weighting", "'median'", "difference"]),
        ({"normalisation": "mean"}, ["normalisation", "paper, released"]),
        ({"normalisation": None}, ["normalisation", "None"]),
        ({"answer_loss": "three-way"}, ["answer_loss", "two-way"]),
        ({"granularity": "letter"}, ["granularity", "word"]),
        ({"masked_text": "blur"}, ["masked_text", "hide"]),
        ({"prompt": "please"}, ["prompt", "video-llava"]),
        ({"attention": "flash"}, ["attention", "split"]),
        ({"way": "cached"}, ["way", "plain, packed"]),
        ({"tune": "head"}, ["tune", "lora"]),
        ({"tune": "all", "feature_cache": "cache"}, ["vision tower", "feature_cache"]),
        ({"remove_unused_columns": True}, ["remove_unused_columns", "False"]),
        ({"label_smoothing_factor": 0.1}, ["label_smoothing_factor"]),
        ({"neftune_noise_alpha": 5.0}, ["neftune_noise_alpha"]),
        ({"auto_find_batch_size": True}, ["auto_find_batch_size"]),
        ({"train_sampling_strategy": "group_by_length"}, ["train_sampling_strategy", "random or sequential"]),
        ({"push_to_hub": True}, ["push_to_hub", "push_model"]),
        ({"seed": -1}, ["seed", "-1", "from 0"]),
        ({"data_seed": -1}, ["data_seed", "-1"]),
        ({"learning_rate": -1.0}, ["learning_rate", "-1", "from 0"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "nan"]),
        ({"learning_rate": float("inf")}, ["learning_rate", "inf"]),
        ({"per_device_train_batch_size": 0}, ["per_device_train_batch_size", "0", "from 1"]),
        ({"per_device_eval_batch_size": -8}, ["per_device_eval_batch_size"]),
        ({"gradient_accumulation_steps": 0}, ["gradient_accumulation_steps"]),
        ({"num_train_epochs": 0}, ["num_train_epochs", "above 0", "max_steps"]),
        ({"num_train_epochs": -1.0, "max_steps": 0}, ["num_train_epochs", "-1"]),
        ({"fp16": True}, ["fp16=True on a CPU", "bf16"]),
        ({"max_steps": 0}, ["max_steps", "0", "from 1", "-1 for num_train_epochs"]),
        ({"max_steps": -5}, ["max_steps", "-5"]),
        ({"fsdp": True}, ["fsdp", "one process", "accelerate launch"]),
    ],
)
def test_what_is_refused(tmp_path, changes, words):
    with pytest.raises(SynvitaError) as error:
        make(tmp_path, **changes)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_steps_may_take_the_place_of_epochs(tmp_path):
    assert make(tmp_path, num_train_epochs=0, max_steps=3).max_steps == 3


def test_a_logger_that_is_not_installed(tmp_path):
    import importlib.util

    assert importlib.util.find_spec("wandb") is None
    for report_to in ("wandb", ["none", "wandb"]):
        with pytest.raises(SynvitaError, match=r"not installed.*'wandb'.*Install wandb"):
            SynViTAConfig(output_dir=str(tmp_path), use_cpu=True, report_to=report_to)
    with pytest.raises(SynvitaError, match=r"unknown report_to.*'paper'.*tensorboard"):
        SynViTAConfig(output_dir=str(tmp_path), use_cpu=True, report_to="paper")


def test_what_the_data_is_told(tmp_path):
    from synvita_data.video import FramePolicy

    class AtARate:
        def default_frames(self):
            return FramePolicy(fps=2.0, size=224)

    class Counted:
        def default_frames(self):
            return FramePolicy(count=8, rule="linspace")

    config = make(
        tmp_path, frames=4, scr_weight=0, nle_weight=0, weighting="fixed", seed=3, masked_text="remove"
    )
    options = config.data_arguments(AtARate())
    assert options["frames"] == FramePolicy(count=4, rule="linspace", size=224)
    assert config.data_arguments(Counted())["frames"] == FramePolicy(count=4, rule="linspace")
    assert tuple(options[name] for name in ("use_scr", "nle_share", "weighting", "seed")) == (
        False,
        0.0,
        "fixed",
        3,
    )
    assert options["masked_text"] == "remove"
    assert make(tmp_path).data_arguments(Counted())["frames"] is None
    assert make(tmp_path, data_seed=9).data_arguments(Counted())["seed"] == 9

    # Each field is handed on, at a value that is not its default.
    changed = {
        "weighting": "product",
        "granularity": "token",
        "masked_text": "remove",
        "use_synthetic": False,
        "nle_share": 0.25,
        "seed": 7,
        "max_unreadable": 0.5,
        "misalignments": ["flip", "action"],
        "only": {"source": ["tempo"]},
    }
    options = make(tmp_path, scr_weight=0.0, frames=3, **changed).data_arguments(Counted())
    frames = FramePolicy(count=3, rule="linspace")
    changed["misalignments"] = ("action", "flip")
    assert options == {**changed, "use_scr": False, "frames": frames}
    # They are all arguments of `TripletData` but those of whoever makes it, and none is left at its default.
    parameters = inspect.signature(TripletData).parameters
    assert set(options) == set(parameters) - {"rows", "model", "cache", "quarantine", "name"}
    for name, value in options.items():
        assert value != parameters[name].default, name
