"""Processors of recorded repositories build, prompts come out, and earlier layouts are understood or named.

Tokenizers of LLaMA's kind have its own 32,000 tokens where `llama-tokenizer-js` is at hand, else a small vocabulary;
`tests/llama_vocabulary.py` says how to get it. What is not recorded (any `tokenizer_config.json` of Video-LLaVA-7B-hf,
OneVision's settings) is not claimed here.
"""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
import transformers
from llama_vocabulary import llama_js, save_llama
from models.stock_models import clip
from released.recorded import facts, plain, write_json

from synvita_data.captions import Text
from synvita_data.captions.prompts import tokenize_in_parts
from synvita_data.errors import SynvitaError, TokenizerError
from synvita_data.models import AlignmentModel
from synvita_data.models.loading import load_alignment_model
from synvita_data.models.processors import load_processor
from synvita_data.models.resolve import find_checkpoint
from synvita_data.testing import make_tiny

HF, LLAVA = "LanguageBind/Video-LLaVA-7B-hf", "llava-hf/llava-1.5-7b-hf"
# That of refs/pr/5 is not recorded (669 B): this one is our own.
TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'video') %}{{ '<video>\\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def video_llava(folder, **tokenizer):
    """Video-LLaVA-7B-hf as main has it, without weights: no chat template, no processor_config.json, CRLF ends."""
    save_llama(folder, ("<image>", "<video>", "<pad>"), pad_token="<pad>", padding_side="left", **tokenizer)
    write_json(folder, "config.json", plain(facts(HF)["config_of_upstream_copy"]["config"]), windows=True)
    write_json(
        folder, "preprocessor_config.json", facts(HF)["preprocessor_of_descendant"]["data"], windows=True
    )
    write_json(folder, "added_tokens.json", facts(HF)["added_tokens"], windows=True)
    assert not set(facts(HF)["absent_on_main"]) & {path.name for path in folder.iterdir()}
    return folder


def without_weights(folder, processor, **asked) -> AlignmentModel:
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        network = transformers.AutoModelForImageTextToText.from_config(config)
    return AlignmentModel(network, processor, **asked)


@pytest.mark.parametrize("tokenizer", [{}, {"legacy": False}, {"legacy": True}], ids=str)
def test_the_default_prompt_of_video_llava(tmp_path, tokenizer):
    """2,056 tokens of a video, and LLaMA's own ids around them, whatever `legacy` is (which is not recorded)."""
    llama_js()
    processor, changed = load_processor(str(video_llava(tmp_path, **tokenizer)))
    assert changed is None
    assert type(processor).__name__ == "VideoLlavaProcessor"
    assert (processor.patch_size, processor.num_additional_image_tokens) == (14, 1)
    assert processor.chat_template is None
    assert processor.video_processor.size["shortest_edge"] == 224
    frames = clip(3, frames=8, height=240, width=320)
    for space in ("processor", "original"):
        model = without_weights(tmp_path, processor, placeholder_space=space)
        ids = model.prompter.tokens(Text("a man runs."), None, model.prepare(frames)).ids.tolist()
        # "USER:", a space; 32001 is <video>; the blank, which only some read, and the rest
        blank = [29871] if space == "original" or tokenizer.get("legacy") else []
        question = [25125, 445, 4863, 875, 737, 278, 6139, 29901, 376, 29874, 767, 6057, 1213, 29973]
        expected = [1, 3148, 1001, 29901, 29871, *[32001] * 2056, *blank, 13, *question, 319, 1799, 9047]
        assert ids[: len(expected)] == expected
        assert ids[len(expected) :] == [13566, 29901]
    assert processor.tokenizer.convert_tokens_to_ids(["<image>", "<video>", "<pad>"]) == [32000, 32001, 32002]


def tiny_without_template(folder):
    make_tiny("video_llava", folder)
    (folder / "chat_template.jinja").unlink()
    return folder


def test_a_checkpoint_without_a_chat_template(tmp_path):
    """The default prompt needs none; `question` does, and says so before weights are read; with one it works."""
    found = find_checkpoint(str(tiny_without_template(tmp_path / "main")))
    model, _ = load_alignment_model(found)
    with torch.no_grad():
        (own,) = model([clip(1)], [[Text("a dog runs")]]).log_odds
    assert own.isfinite().all()
    (tmp_path / "main" / "model.safetensors").write_bytes(b"not read")
    with pytest.raises(TokenizerError, match="the processor has no usable chat template") as error:
        load_alignment_model(found, prompt="question")
    assert "\n" not in str(error.value)
    assert "Name a prompt" in str(error.value)
    whole = tiny_without_template(tmp_path / "pr5")
    (whole / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    model, _ = load_alignment_model(find_checkpoint(str(whole)), prompt="question")
    text = model.family.processor.tokenizer.decode(
        model.prompter.tokens(Text("a dog runs"), None, model.prepare(clip(1))).ids
    )
    assert text.rstrip().endswith("ASSISTANT:")
    assert "a dog runs" in text


@pytest.fixture(scope="module")
def tiny_folders(tmp_path_factory):
    made = {}

    def folder(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


def with_old_settings(source, folder, **settings):
    """A checkpoint of before processors were one file: `preprocessor_config.json` holds the images' settings."""
    shutil.copytree(source, folder)
    nested = json.loads((folder / "processor_config.json").read_text())
    images = nested.pop("image_processor")
    nested.pop("video_processor", None)
    write_json(folder, "processor_config.json", nested)
    write_json(folder, "preprocessor_config.json", images | settings)
    return folder


OLD_NAMES = {
    "clip": ("CLIPFeatureExtractor", "CLIPImageProcessor"),
    "llava": ("CLIPFeatureExtractor", "CLIPImageProcessor"),
    "qwen2_5_vl": ("Qwen2_5_VLImageProcessor", "Qwen2VLImageProcessor"),
}


@pytest.mark.parametrize("family", OLD_NAMES)
def test_image_processors_of_earlier_names(family, tiny_folders, tmp_path, caplog):
    """transformers 5 refuses them; they are what they are called today, and that is said once."""
    old, today = OLD_NAMES[family]
    named = {
        name: with_old_settings(tiny_folders(family), tmp_path / name, image_processor_type=name)
        for name in (old, today)
    }
    with pytest.raises(ValueError, match="Unrecognized image processor"):
        transformers.AutoProcessor.from_pretrained(named[old])
    found = {}
    for name, folder in named.items():
        with caplog.at_level(logging.WARNING, "synvita_data"):
            found[name], _ = load_processor(str(folder))
    assert caplog.text.count(f"{old} is now {today}") == 1
    pixels = np.random.default_rng(0).integers(0, 255, (56, 84, 3), dtype=np.uint8)
    first, second = (
        each.image_processor(images=[pixels], return_tensors="pt")["pixel_values"] for each in found.values()
    )
    assert torch.equal(first, second)
    first, second = found.values()
    assert first.tokenizer("a dog runs")["input_ids"] == second.tokenizer("a dog runs")["input_ids"]
    assert first.tokenizer.name_or_path == str(named[old])
    assert first.chat_template == second.chat_template


def test_the_recorded_names_are_those():
    copies = facts(LLAVA)["preprocessor_of_copies"]
    assert "CLIPFeatureExtractor" in {each.get("image_processor_type") for each in copies.values()}


def test_an_unknown_image_processor_is_one_line(tiny_folders, tmp_path):
    folder = with_old_settings(
        tiny_folders("qwen2_5_vl"), tmp_path / "x", image_processor_type="NoImageProcessor"
    )
    with pytest.raises(SynvitaError, match=r"cannot load the model.*Unrecognized image processor"):
        load_alignment_model(find_checkpoint(str(folder)))


def onevision(source, folder, size):
    """As of early 2025: images' settings at the root, videos' in `video_processor/`."""
    edge = {"height": 28, "width": 28}
    with_old_settings(source, folder, image_processor_type="LlavaOnevisionImageProcessor", size=edge)
    (folder / "video_processor").mkdir()
    write_json(
        folder / "video_processor",
        "preprocessor_config.json",
        {"image_processor_type": "LlavaOnevisionVideoProcessor", "size": {"height": size, "width": size}}
        | {"processor_class": "LlavaOnevisionProcessor"},
    )
    return folder


def test_video_settings_in_a_sub_folder_are_taken(tiny_folders, tmp_path, caplog):
    """transformers alone takes those of images. The revision says it, so that other scores are not reused."""
    folder = onevision(tiny_folders("llava_onevision"), tmp_path / "ov", 56)
    stock = transformers.AutoProcessor.from_pretrained(folder)
    assert stock.video_processor.size["height"] == 28
    with caplog.at_level(logging.WARNING, "synvita_data"):
        processor, changed = load_processor(str(folder))
    assert processor.video_processor.size["height"] == 56
    assert processor.image_processor.size["height"] == 28
    assert "videos are prepared as video_processor/preprocessor_config.json says: " in caplog.text
    assert "size {'height': 56, 'width': 56} (images: {'height': 28" in caplog.text
    assert len(changed) == 8
    assert load_processor(str(folder)).video_settings == changed
    other = onevision(tiny_folders("llava_onevision"), tmp_path / "other", 84)
    assert load_processor(str(other)).video_settings not in (None, changed)


def test_equal_or_newer_video_settings_change_nothing(tiny_folders, tmp_path):
    same = onevision(tiny_folders("llava_onevision"), tmp_path / "same", 28)
    stock = transformers.AutoProcessor.from_pretrained(same).video_processor.to_dict()
    write_json(same / "video_processor", "preprocessor_config.json", json.loads(json.dumps(stock)))
    assert load_processor(str(same)).video_settings is None
    newer = onevision(tiny_folders("llava_onevision"), tmp_path / "newer", 56)
    write_json(newer, "video_preprocessor_config.json", json.loads(json.dumps(stock)))
    processor, changed = load_processor(str(newer))
    assert (processor.video_processor.size["height"], changed) == (28, None)


def test_scores_with_settings_of_a_sub_folder_have_a_revision_of_their_own(tiny_folders, tmp_path):
    from synvita_data.models.resolve import ModelFiles

    folder = onevision(tiny_folders("llava_onevision"), tmp_path / "ov", 28)
    stock = transformers.AutoProcessor.from_pretrained(folder).video_processor.to_dict()
    changed = json.loads(json.dumps(stock)) | {"image_mean": [0.1, 0.2, 0.3]}
    write_json(folder / "video_processor", "preprocessor_config.json", changed)
    _, version = load_alignment_model(find_checkpoint(str(folder)))
    digest, mark, settings = version.partition("~")
    assert digest == ModelFiles(str(folder)).exact_revision()
    assert (mark, len(settings)) == ("~", 8)
    _, version = load_alignment_model(find_checkpoint(str(tiny_folders("llava_onevision"))))
    assert "~" not in version


def test_llava_1_5_reads_its_question(tmp_path):
    """Ids of VQAScore's question with the tokenizer flags that are proved by size: `legacy` is false."""
    from synvita_data.builders.vqascore.base import VICUNA

    llama_js()
    flags = facts(LLAVA)["tokenizer_config_of_same_size_copy"]["data"]
    assert flags["legacy"] is False
    kept = {
        key: value for key, value in flags.items() if key not in ("added_tokens_decoder", "processor_class")
    }
    save_llama(tmp_path, ("<image>", "<pad>"), **kept)
    write_json(tmp_path, "config.json", plain(facts(LLAVA)["config_of_copy"]["config"]))
    form = facts(LLAVA)["preprocessor_of_copies"]["505 B form (bakLlava-v1-hf@74bca1e)"]
    write_json(tmp_path, "preprocessor_config.json", form)
    processor, _ = load_processor(str(tmp_path))
    assert processor.image_processor.crop_size["height"] == 336
    text = f"{VICUNA.wrap('a man runs.')}{VICUNA.answer}</s>"
    ids = tokenize_in_parts(processor.tokenizer, text, VICUNA.image, 32000).ids
    place = ids.index(32000)
    assert ids[place : place + 4] == [32000, 29871, 13, 25125]
    assert ids[-2:] == [3869, 2]
    assert ids[0] == 1
    # The whole string: for this model_type transformers takes tokenizer.json as it lies, and that is not recorded.
    whole = processor.tokenizer(text)["input_ids"]
    assert [number for number in whole if number != 29871] == [number for number in ids if number != 29871]
