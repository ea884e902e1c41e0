"""Released checkpoints: the whole conversion, what it refuses, and that it writes all or nothing."""

import json
import shutil

import pytest
import torch
from released_owl import load_released
from safetensors import safe_open
from typer.testing import CliRunner

from synvita_data.errors import SynvitaError, TokenizerError
from synvita_data.models.mplug_owl.convert import convert_mplug_owl
from synvita_data.models.mplug_owl.released import read_config


@pytest.fixture
def released(tmp_path, raw_config, weights, sentencepiece_model):
    """A folder as the released one: one .bin in bf16, rotary buffers, old settings, `tokenizer.model` alone."""
    from sentencepiece import SentencePieceProcessor

    folder = tmp_path / "released"
    folder.mkdir()
    shutil.copy(sentencepiece_model, folder / "tokenizer.model")
    vocabulary = SentencePieceProcessor(model_file=str(sentencepiece_model)).get_piece_size()
    old = {
        "torch_dtype": "bfloat16",
        "transformers_version": "4.28.1",
        "top_k": 50,
        "_name_or_path": "/home/x",
    }
    config = json.loads(json.dumps({**raw_config, **old}))
    config["text_config"] |= {"vocab_size": vocabulary, "top_p": 1.0, "torch_dtype": None, "pruned_heads": {}}
    config["vision_config"] |= {"use_flash_attn": False, "initializer_factor": 1.0}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.25, 0.25, 0.25], "resolution": 12})
    )
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in weights.items():
        shape = list(tensor.shape)
        if shape[0] == 96 and ("lm_head" in name or "embed_tokens" in name):
            tensor = torch.randn(vocabulary, *shape[1:], generator=generator)
        state[name] = tensor if "inv_freq" in name else tensor.bfloat16()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def change(folder, **tensors):
    """Replace weights by name; None takes one out."""
    path = folder / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    for name, tensor in tensors.items():
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    torch.save(state, path)


def everything(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def test_a_converted_folder_is_the_released_model(released, tmp_path, io):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    out = tmp_path / "out"
    report = convert_mplug_owl(released, out, shard_bytes=100_000)
    state = torch.load(released / "pytorch_model.bin", weights_only=True)
    expected = {name: tensor for name, tensor in state.items() if "inv_freq" not in name}
    assert report["tensors"] == len(expected) == 119
    assert report["parameters"] == sum(tensor.numel() for tensor in expected.values())
    assert report["dtypes"] == ("bfloat16",)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(expected)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
    files = sorted(set(index["weight_map"].values()))
    assert files == [
        f"model-{k:05}-of-{report['shards']:05}.safetensors" for k in range(1, report["shards"] + 1)
    ]
    assert report["shards"] > 3
    for file in files:
        with safe_open(out / file, framework="pt") as opened:
            names = list(opened.keys())
            tensors = {name: opened.get_tensor(name) for name in names}
        assert all(torch.equal(tensors[name], expected[name]) for name in names)
        assert len(names) == 1 or sum(t.nbytes for t in tensors.values()) <= 100_000

    model, loading = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    assert model.dtype == torch.bfloat16
    assert model.config.architectures == ["MplugOwlForConditionalGeneration"]
    again = load_released(released)
    ids = io["input_ids"]
    with torch.no_grad():
        one, two = (
            m.float().eval()(input_ids=ids, video_pixel_values=io["video_pixel_values"]).logits
            for m in (model, again)
        )
    assert torch.equal(one, two)

    processor = AutoProcessor.from_pretrained(out)
    assert list(processor.video_processor.image_mean) == [0.4, 0.5, 0.6]
    assert dict(processor.video_processor.size) == {"height": 12, "width": 12}
    assert processor.tokenizer.pad_token_id == 0
    yes, no = (processor.tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in ("Yes", "No"))
    assert report["answers"] == (yes, no)
    assert everything(released) == ["out", "released"]


def test_the_tokenizer_survives_the_conversion(released, tmp_path, pieces_of):
    from transformers import AutoProcessor

    convert_mplug_owl(released, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("model*")] == ["model.safetensors"]
    tokenizer = AutoProcessor.from_pretrained(tmp_path / "out").tokenizer
    for text in ("AI: ", "\nHuman: ", 'Does this video entail the description: "a é🎸 dog"?\n', "Yes"):
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == [i for i, _, _ in pieces_of(text)]


def test_scoring_as_released_says_how_to_convert(released):
    from synvita_data.scoring.alignment import AlignmentScorer

    for there in (True, False):
        if not there:
            (released / "preprocessor_config.json").unlink()
        with pytest.raises(SynvitaError, match="synvita convert mplug-owl"):
            AlignmentScorer.open(str(released), device="cpu")


def test_old_settings_are_left_behind(released):
    config = read_config(released)
    assert config.text_config.to_dict().keys().isdisjoint({"top_p", "pruned_heads"})
    assert not hasattr(config.vision_config, "use_flash_attn")
    assert config.text_config.rms_norm_eps == 1e-6
    assert (
        config.vision_config.temporal_layer_norm_eps,
        config.visual_abstractor_config.normalization_eps,
    ) == (
        1e-5,
        1e-5,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query_tokens": None}, "1 missing: query_tokens"),
        ({"language_model.model.layers.0.self_attn.extra.weight": torch.zeros(2)}, "1 left over.*extra"),
        ({"abstractor.vit_eos": torch.zeros(1, 1, 47)}, r"1 other shape: abstractor.vit_eos \[1, 1, 47\]"),
        ({"query_tokens": torch.full((1, 64, 32), float("nan"))}, "not a finite number.*query_tokens"),
    ],
)
def test_other_weights_are_refused(released, tmp_path, changes, words):
    change(released, **changes)
    with pytest.raises(SynvitaError, match=words):
        convert_mplug_owl(released, tmp_path / "out")
    assert everything(released) == ["released"]  # nothing half-written


def test_loading_as_released_is_strict(released):
    change(released, query_tokens=None)
    with pytest.raises(SynvitaError, match="missing: query_tokens"):
        load_released(released)


class Command:
    """What a pickle may hold, and a checkpoint of tensors does not."""

    def __reduce__(self):
        return pytest.exit, ("a checkpoint was executed",)


def test_files_that_are_no_checkpoint(released, tmp_path):
    path = released / "pytorch_model.bin"
    whole = path.read_bytes()
    torch.save({"query_tokens": Command()}, path)
    with pytest.raises(SynvitaError, match="cannot be read"):
        convert_mplug_owl(released, tmp_path / "out")
    for content in (whole[: len(whole) // 2], b"", b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(content)
        with pytest.raises(SynvitaError, match="cannot be read"):
            convert_mplug_owl(released, tmp_path / "out")
    torch.save([torch.zeros(2)], path)
    with pytest.raises(SynvitaError, match="not a state dict"):
        convert_mplug_owl(released, tmp_path / "out")
    path.unlink()
    with pytest.raises(SynvitaError, match="holds no weights"):
        convert_mplug_owl(released, tmp_path / "out")
    assert everything(released) == ["released"]


def test_the_format_before_torch_1_6_is_read(released, tmp_path):
    path = released / "pytorch_model.bin"
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    assert convert_mplug_owl(released, tmp_path / "out")["tensors"] == 119


def test_nothing_is_overwritten(released, tmp_path):
    for out in (tmp_path / "empty", released):
        out.mkdir(exist_ok=True)
        before = sorted(path.name for path in out.iterdir())
        with pytest.raises(SynvitaError, match="already"):
            convert_mplug_owl(released, out)
        assert sorted(path.name for path in out.iterdir()) == before


def test_another_models_settings_or_tokenizer(released, tmp_path):
    config = json.loads((released / "config.json").read_text())
    for changed, error, words in (
        ({"model_type": "video_llava"}, SynvitaError, "not a checkpoint of mPLUG-Owl"),
        ({"text_config": {**config["text_config"], "vocab_size": 32000}}, TokenizerError, "number of tokens"),
    ):
        (released / "config.json").write_text(json.dumps({**config, **changed}))
        with pytest.raises(error, match=words):
            convert_mplug_owl(released, tmp_path / "out")
    (released / "config.json").write_text(json.dumps(config))
    (released / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(TokenizerError):
        convert_mplug_owl(released, tmp_path / "out")
    (released / "tokenizer.model").unlink()
    with pytest.raises(TokenizerError, match="no tokenizer"):
        convert_mplug_owl(released, tmp_path / "out")


def test_a_full_size_tokenizer_must_be_llamas(released):
    """With LLaMA's number of tokens, Yes and No must be LLaMA's own."""
    from synvita_data.models.released import conversion

    class Tokenizer:
        unk_token_id, bos_token_id, eos_token_id = 0, 1, 2

        def __init__(self, yes):
            self.ids = {"Yes": [yes], "No": [1939]}

        def __len__(self):
            return 32000

        def __call__(self, word, add_special_tokens):
            return {"input_ids": self.ids[word]}

    assert conversion.check_answers(Tokenizer(3869), 32000, released) == (3869, 1939)
    with pytest.raises(TokenizerError, match="Yes and No"):
        conversion.check_answers(Tokenizer(3868), 32000, released)


def test_the_command(released, tmp_path):
    from synvita_data.cli import app

    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["convert", "mplug-owl", str(released), str(out)])
    assert done.exit_code == 0, done.output
    assert "119 weights" in done.output
    assert (out / "model.safetensors").is_file()
    again = CliRunner().invoke(app, ["convert", "mplug-owl", str(released), str(out)])
    assert isinstance(again.exception, SynvitaError)
    assert CliRunner().invoke(app, ["convert", "llama", str(released), str(out)]).exit_code == 2
    wrong = CliRunner().invoke(app, ["convert", "mplug-owl", str(released), str(out), "--base", str(out)])
    assert wrong.exit_code == 2
    assert CliRunner().invoke(app, ["convert", "mplug-owl-lora", str(released), str(out)]).exit_code == 2
