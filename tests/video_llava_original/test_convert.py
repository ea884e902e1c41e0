"""The released base: the whole conversion, what it refuses, and that it writes all or nothing."""

import json

import pytest
import torch
from released_layouts import (
    tower_state,
    video_llava_config,
    video_llava_state,
    vocabulary,
    write_language_bind,
    write_tokenizer,
    write_video_llava,
    write_video_llava_lora,
)
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from synvita_data.errors import SynvitaError, TokenizerError
from synvita_data.models.resolve import find_checkpoint
from synvita_data.models.video_llava_original.convert import convert_video_llava
from synvita_data.models.video_llava_original.names import our_names

TOWER = "model.video_tower.video_tower"


def weights_of(folder):
    return {k: v for path in sorted(folder.glob("model*.safetensors")) for k, v in load_file(path).items()}


@pytest.mark.parametrize(("form", "shards"), [("safetensors", 2), ("bin", 2), ("bin", 1)])
def test_a_converted_folder_is_the_released_model(tmp_path, form, shards):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    source = write_video_llava(tmp_path / "released", form=form, shards=shards)
    out = tmp_path / "out"
    report = convert_video_llava(source, out, shard_bytes=100_000)
    state = {k: v for k, v in video_llava_state().items() if "inv_freq" not in k}
    assert report["tensors"] == len(state)
    assert report["dtypes"] == ("bfloat16",)
    assert report["shards"] > 3
    ours = weights_of(out)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(ours)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in ours.values())
    # Every number of the release is there once, under another name; rows are added at the end.
    rows = (vocabulary() + 3 + 63) // 64 * 64
    named = our_names(state)
    assert len(ours) == len(named) == len(state)
    for name, tensor in named.items():
        assert torch.equal(ours[name][: len(tensor)], tensor), name
        if tensor.shape != ours[name].shape:
            assert name in ("lm_head.weight", "model.language_model.embed_tokens.weight")
            assert len(ours[name]) == rows
            mean = tensor.float().mean(0).bfloat16()
            assert (ours[name][len(tensor) :] == mean).all()
    model, loading = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(loading.values())
    assert model.dtype == torch.bfloat16
    config = model.config
    assert config.image_token_id == vocabulary()
    assert config.video_token_id == vocabulary() + 1
    assert config.text_config.pad_token_id == vocabulary() + 2
    assert (config.video_config.num_frames, config.video_config.hidden_act) == (8, "gelu")
    assert config.vision_config.hidden_act == "gelu"
    assert config.vision_feature_layer == -2
    tokenizer = AutoProcessor.from_pretrained(out).tokenizer
    assert len(tokenizer) == vocabulary() + 3
    assert tokenizer.convert_tokens_to_ids(["<image>", "<video>", "<pad>"]) == [
        vocabulary() + n for n in range(3)
    ]
    assert tokenizer.pad_token == "<pad>"
    checkpoint = find_checkpoint(str(out))
    assert (checkpoint.model_type, checkpoint.trained_prompt) == ("video_llava_original", "video-llava-eval")
    assert (checkpoint.trained_frames, checkpoint.trained_space) == (8, "original")
    made_of = json.loads((out / "conversion.json").read_text())
    assert len(made_of["checkpoint"]["files"]) == shards
    assert made_of["tokenizer"] == {"legacy": False}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "released"]


def test_new_rows_change_no_score(tmp_path):
    """And the scores are those of a network of the original's own vocabulary, by its own names."""
    from synvita_data.models.video_llava_original import VideoLlavaOriginalForConditionalGeneration as Network

    source = write_video_llava(tmp_path / "released", dtype=torch.float32)
    convert_video_llava(source, tmp_path / "out")
    model = Network.from_pretrained(tmp_path / "out").eval()
    config = model.config
    ids = torch.tensor([[1, 300, 301, *[config.video_token_id] * 40, 302, 303]])
    pixels = torch.randn(1, 8, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = model(input_ids=ids, pixel_values_videos=pixels).logits[0, -1, : vocabulary()]
        for row in (model.lm_head.weight, model.get_input_embeddings().weight):
            row[vocabulary() :] = 7.0
        again = model(input_ids=ids, pixel_values_videos=pixels).logits[0, -1, : vocabulary()]
    assert torch.equal(first, again)


def test_the_towers_of_languagebind(tmp_path):
    """Their settings are taken, and their weights compared, in the coarser dtype."""
    source = write_video_llava(tmp_path / "released")
    same = write_language_bind(tmp_path / "merge", num_attention_heads=2, layer_norm_eps=1e-6)
    lines = []
    report = convert_video_llava(source, tmp_path / "out", towers=same, say=lines.append)
    own = tower_state(time=True)
    assert report["towers"] == {
        "weights": len(own),
        "compared": len(own),
        "different": 0,
        "largest_difference": 0.0,
    }
    assert any(f"{len(own)} weights of the video tower are those of --towers" in line for line in lines)
    # They keep their dtype: the released evaluation brings them to bf16 by way of fp16, which rounds twice.
    assert report["dtypes"] == ("bfloat16", "float32")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    config = config["video_config"]
    assert (config["num_attention_heads"], config["layer_norm_eps"]) == (2, 1e-6)
    assert not any("force_patch_dropout" in line for line in lines)
    # Another tower: said aloud, and the one that the released evaluation loads is written.
    other = write_language_bind(tmp_path / "other", seed=5, force_patch_dropout=0.5)
    lines.clear()
    report = convert_video_llava(source, tmp_path / "second", towers=other, say=lines.append)
    assert report["towers"]["different"] > 0
    assert any("DIFFERS from --towers" in line for line in lines)
    assert any("drops 50% of the patches" in line for line in lines)
    name = "post_layernorm.weight"
    written = weights_of(tmp_path / "second")[f"model.video_tower.{name}"]
    assert torch.equal(written, tower_state(5, time=True)[name].float())
    assert (
        json.loads((tmp_path / "second" / "conversion.json").read_text())["towers"]["compared"]
        == report["towers"]
    )


def test_towers_fill_in_for_a_checkpoint_without_them(tmp_path):
    without = {name: None for name in video_llava_state() if name.startswith(TOWER)}
    source = write_video_llava(tmp_path / "released", **without)
    with pytest.raises(SynvitaError, match=r"without its video tower.*LanguageBind_Video_merge.*--towers"):
        convert_video_llava(source, tmp_path / "out")
    report = convert_video_llava(source, tmp_path / "out", towers=write_language_bind(tmp_path / "merge"))
    assert report["towers"]["compared"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.mm_projector.2.bias": None}, "1 missing: model.multi_modal_projector.linear_2.bias"),
        ({"model.extra.weight": torch.zeros(1)}, "unknown weight.*model.extra.weight"),
        ({"model.language_model.norm.weight": torch.zeros(32)}, "unknown weight.*transformers' port"),
        ({f"{TOWER}.encoder.layers.0.extra.weight": torch.zeros(2)}, "1 left over.*extra"),
        ({"model.norm.weight": torch.zeros(31)}, r"1 other shape: model.language_model.norm.weight \[31\]"),
        ({"model.norm.weight": torch.full((32,), float("inf"))}, "not a finite number"),
        ({"model.norm.weight": torch.ones(32).to(torch.int8)}, "1 of whole numbers.*language_model.norm"),
        ({f"{TOWER}.encoder.layers.1.temporal_embedding": None}, "1 missing.*temporal_embedding"),
        (
            {name: None for name in video_llava_state() if "temporal" in name},
            "without attention over time.*transformers' port has dropped it",
        ),
        (
            {f"model.image_tower.image_tower.{name}": None for name in tower_state(time=False)},
            "missing: model.image_tower",
        ),
        (
            {"lm_head.weight": torch.zeros(700, 32)[: vocabulary() - 1]},
            "1 other shape: lm_head.weight",
        ),
    ],
)
def test_other_weights_are_refused(tmp_path, changes, words):
    source = write_video_llava(tmp_path / "released", **changes)
    with pytest.raises(SynvitaError, match=words):
        convert_video_llava(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["released"]  # nothing half-written


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_checkpoint_that_is_half_downloaded(tmp_path, form):
    source = write_video_llava(tmp_path / "released", form=form)
    (shard,) = source.glob(f"*-00002-of-00002.{form}")
    whole = shard.read_bytes()
    for content in (whole[: len(whole) // 2], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"):
        shard.write_bytes(content)
        with pytest.raises(SynvitaError, match="cannot be read"):
            convert_video_llava(source, tmp_path / "out")
    shard.unlink()
    with pytest.raises(SynvitaError, match=f"lacks a file.*00002-of-00002.{form}"):
        convert_video_llava(source, tmp_path / "out")
    first = source / shard.name.replace("00002-of", "00001-of")
    shard.write_bytes(first.read_bytes())  # a file of another download
    with pytest.raises(SynvitaError, match="in two files"):
        convert_video_llava(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_a_bin_with_anything_but_tensors(tmp_path):
    source = write_video_llava(tmp_path / "released", form="bin", shards=1)
    torch.save({**video_llava_state(), "step": 3}, source / "pytorch_model.bin")
    with pytest.raises(SynvitaError, match=r"not a state dict.*int"):
        convert_video_llava(source, tmp_path / "out")
    (source / "pytorch_model.bin").unlink()
    with pytest.raises(SynvitaError, match="holds no weights"):
        convert_video_llava(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "video_llava"}, "nothing to convert.*no attention over time"),
        ({"model_type": "video_llava_original"}, "nothing to convert.*already"),
        ({"model_type": "mplug-owl"}, "not a checkpoint of the original Video-LLaVA"),
        ({"mm_projector_type": "linear"}, "other settings.*mm_projector_type"),
        ({"mm_vision_select_layer": -1}, "other settings.*mm_vision_select_layer"),
        ({"mm_use_im_start_end": True}, "other settings.*mm_use_im_start_end"),
        ({"vocab_size": 32000}, "number of tokens"),
        ({"vocab_size": "many"}, "config.json: a model's settings cannot be used.*many"),
        ({"hidden_size": "big"}, "config.json: a model's settings cannot be used.*hidden_size"),
        ({"num_attention_heads": 5}, "config.json: a model's settings cannot be used.*heads"),
    ],
)
def test_other_settings(tmp_path, change, words):
    source = write_video_llava(tmp_path / "released")
    (source / "config.json").write_text(json.dumps(video_llava_config(**change)))
    with pytest.raises(SynvitaError, match=words):
        convert_video_llava(source, tmp_path / "out")


def test_other_towers_are_refused(tmp_path):
    source = write_video_llava(tmp_path / "released")
    for name, change in (("image", {"add_time_attn": False}), ("frames", {"num_frames": None})):
        towers = write_language_bind(tmp_path / name, **change)
        with pytest.raises(SynvitaError, match="not the settings of LanguageBind's video tower"):
            convert_video_llava(source, tmp_path / "out", towers=towers)
    towers = write_language_bind(tmp_path / "shape")
    state = torch.load(towers / "pytorch_model.bin", weights_only=True)
    state["vision_model.post_layernorm.bias"] = torch.zeros(63)
    torch.save(state, towers / "pytorch_model.bin")
    with pytest.raises(
        SynvitaError, match=r"video tower is not the checkpoint's.*post_layernorm.bias \[63\]"
    ):
        convert_video_llava(source, tmp_path / "out", towers=towers)


def test_tokenizers(tmp_path):
    """`legacy` is what the folder says, and stays so; without a tokenizer there is no model."""
    from transformers import AutoTokenizer

    source = write_video_llava(tmp_path / "released")
    ids = {}
    for legacy in (False, True):
        write_tokenizer(source, legacy=legacy)
        out = tmp_path / f"out-{legacy}"
        convert_video_llava(source, out)
        assert json.loads((out / "tokenizer_config.json").read_text())["legacy"] is legacy
        assert json.loads((out / "conversion.json").read_text())["tokenizer"] == {"legacy": legacy}
        ids[legacy] = AutoTokenizer.from_pretrained(out)("<video>\nDoes this")["input_ids"]
    assert len(ids[True]) == len(ids[False]) + 1
    (source / "tokenizer.model").unlink()
    with pytest.raises(TokenizerError, match="no tokenizer"):
        convert_video_llava(source, tmp_path / "out")


def test_a_base_in_the_released_layout_is_named_by_the_loader(tmp_path):
    """Before transformers takes it for a LLaVA, or `vqascore` for a chat model to download."""
    from synvita_data.builders.vqascore.models import find_model
    from synvita_data.scoring.alignment import AlignmentScorer
    from synvita_data.scoring.open import open_scorer

    base = write_video_llava(tmp_path / "released")
    lora = write_video_llava_lora(tmp_path / "lora")
    for open_it in (
        find_checkpoint,
        lambda name: open_scorer(name, device="cpu"),  # as `synvita evaluate` does
        find_model,
        lambda name: find_model(name, whole_video=True),
        lambda name: AlignmentScorer.open(name, device="cpu"),
    ):
        with pytest.raises(
            SynvitaError, match=r"a model in the layout of LLaVA.*`synvita convert video-llava DIR OUT`"
        ):
            open_it(str(base))
        with pytest.raises(
            SynvitaError, match=r"an adapter in the layout.*`synvita convert video-llava-lora DIR OUT"
        ):
            open_it(str(lora))
    (tmp_path / "llava").mkdir()
    (tmp_path / "llava" / "config.json").write_text('{"model_type": "llava", "mm_vision_tower": "clip"}')
    with pytest.raises(SynvitaError, match=r"llava-hf/llava-1.5-7b-hf"):
        find_model(str(tmp_path / "llava"))


def test_what_a_killed_conversion_left_goes_and_a_live_one_is_left_alone(tmp_path):
    """A live one holds the lock of its folder; a kill lets it go."""
    from synvita_data.files import new_folder

    out = tmp_path / "out[1]"
    killed, of_another = tmp_path / ".part-0badc0de-out[1]", tmp_path / ".part-0badc0de-out1"
    for folder in (killed, of_another):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    with new_folder(out) as temporary:
        assert not killed.exists()
        assert of_another.exists()
        with (
            pytest.raises(SynvitaError, match=r"another process is making this folder.*in use"),
            new_folder(out),
        ):
            pass
        assert temporary.is_dir()
        (temporary / "done").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [of_another.name, out.name]
    assert [path.name for path in out.iterdir()] == ["done"]


@pytest.mark.slow
def test_a_disk_that_is_full_is_one_line(tmp_path):
    """A limit on sizes of files stands for it, in a process of its own."""
    import subprocess
    import sys

    source = write_video_llava(tmp_path / "released")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from synvita_data.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "convert", "video-llava", str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "a file of weights cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_the_command(tmp_path):
    from synvita_data.cli import app

    source = write_video_llava(tmp_path / "released")
    towers = write_language_bind(tmp_path / "merge")
    command = ["convert", "video-llava", str(source), str(tmp_path / "out"), "--towers", str(towers)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "61 weights of the video tower are those of --towers" in " ".join(done.output.split())
    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as file:
        assert "model.video_tower.encoder.layers.0.temporal_embedding" in file.keys()  # noqa: SIM118
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, SynvitaError)
    assert "already" in str(again.exception)
    for more in (["--base", "x"], ["--merge"], ["--alpha", "3"]):
        assert CliRunner().invoke(app, [*command, *more]).exit_code == 2


def test_at_full_size_every_released_name_has_its_place():
    """On the meta device: 1,341 weights and the 32 rotary buffers, 224 layers for LoRA, 7B parameters and no more."""
    import re

    from synvita_data.models.released.lora_settings import LANGUAGE_MODEL_LINEARS
    from synvita_data.models.video_llava_original import (
        VideoLlavaOriginalConfig,
        VideoLlavaOriginalForConditionalGeneration,
    )

    attention = [f"{part}_proj.{kind}" for part in ("q", "k", "v", "out") for kind in ("weight", "bias")]
    pair = ["weight", "bias"]
    layer = [f"self_attn.{name}" for name in attention]
    layer += [
        f"{name}.{kind}" for name in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2") for kind in pair
    ]
    time = [f"temporal_attn.{name}" for name in attention]
    time += ["temporal_layer_norm1.weight", "temporal_layer_norm1.bias", "temporal_embedding"]
    around = ["embeddings.class_embedding", "embeddings.patch_embedding.weight"]
    around += ["embeddings.position_embedding.weight"]
    around += [f"{name}.{kind}" for name in ("pre_layrnorm", "post_layernorm") for kind in pair]
    names = ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"]
    names += [f"model.mm_projector.{n}.{kind}" for n in (0, 2) for kind in pair]
    for kind, own in (("video", layer + time), ("image", layer)):
        prefix = f"model.{kind}_tower.{kind}_tower."
        names += [prefix + name for name in around]
        names += [f"{prefix}encoder.layers.{n}.{name}" for n in range(24) for name in own]
    llama = ["input_layernorm", "post_attention_layernorm"]
    llama += [f"self_attn.{part}_proj" for part in "qkvo"] + [
        f"mlp.{part}_proj" for part in ("gate", "up", "down")
    ]
    names += [f"model.layers.{n}.{name}.weight" for n in range(32) for name in llama]
    names += [f"model.layers.{n}.self_attn.rotary_emb.inv_freq" for n in range(32)]
    with torch.device("meta"):
        model = VideoLlavaOriginalForConditionalGeneration(
            VideoLlavaOriginalConfig(text_config={"vocab_size": 32064})
        )
    state = model.state_dict()
    assert set(our_names({name: torch.zeros(1) for name in names})) == set(state)
    assert len(state) == 1341
    assert len(names) == 1341 + 32
    linears = [n for n, m in model.named_modules() if re.fullmatch(LANGUAGE_MODEL_LINEARS, n)]
    assert len(linears) == 224
    assert state["model.video_tower.encoder.layers.23.temporal_embedding"].shape == (1, 8, 1024)
    assert state["model.multi_modal_projector.linear_1.weight"].shape == (4096, 1024)
    # LLaMA with 64 more rows twice, two ViT-L/14, what time adds to one, and the projector.
    llama_parameters, tower = 6_738_415_616, 303_179_776
    time_adds = 24 * (4 * (1024 * 1024 + 1024) + 2 * 1024 + 8 * 1024)
    projector = 1024 * 4096 + 4096 + 4096 * 4096 + 4096
    expected = llama_parameters + 2 * 64 * 4096 + 2 * tower + time_adds + projector
    assert sum(tensor.numel() for tensor in state.values()) == expected


def test_a_converted_model_asks_what_the_release_asks(tmp_path):
    """Ids against sentencepiece itself: each part between the frames' placeholders tokenised alone, one BOS in front."""
    import numpy as np
    from released_layouts import sentencepiece_model
    from small_sentencepiece import pieces

    from synvita_data.captions import Text
    from synvita_data.scoring.alignment import AlignmentScorer
    from synvita_data.video import Frames

    convert_video_llava(write_video_llava(tmp_path / "released"), tmp_path / "out")
    scorer = AlignmentScorer.open(str(tmp_path / "out"), device="cpu")
    pixels = np.zeros((8, 40, 40, 3), dtype=np.uint8)
    frames = Frames(pixels, tuple(range(8)), tuple(n / 4 for n in range(8)), 4.0, "black", "none")
    found = scorer.model.prompter.tokens(Text("a dog runs"), None, scorer.model.prepare(frames))
    system = (
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. USER: "
    )
    question = '\nDoes this video entail the description: "a dog runs"? ASSISTANT:'
    prompt = system + " ".join(["<image>"] * 8) + question
    encode = pieces(sentencepiece_model())
    expected = [1]
    for number, chunk in enumerate(prompt.split("<image>")):
        expected += [vocabulary() + 1] * 5 if number else []  # 4 patches and the class token
        expected += [piece for piece, _, _ in encode(chunk)]
    assert found.ids.tolist() == expected
