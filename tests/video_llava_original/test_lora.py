"""LoRA in LLaVA's layout: against the original's outputs, and every way in which a conversion could go wrong."""

import json
from pathlib import Path

import pytest
import torch
from released_layouts import (
    ALPHA,
    RANK,
    adapter_config,
    lora_state,
    save_state,
    write_video_llava,
    write_video_llava_lora,
)
from safetensors.torch import load_file
from stages import TOLERANCE, embeds, scores
from typer.testing import CliRunner

from synvita_data.errors import SynvitaError
from synvita_data.models.released.conversion import merge_exact, merge_float32
from synvita_data.models.released.lora_settings import LANGUAGE_MODEL_LINEARS
from synvita_data.models.resolve import find_checkpoint
from synvita_data.models.video_llava_original.convert import convert_video_llava
from synvita_data.models.video_llava_original.lora import convert_video_llava_lora, read_llava_lora

FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A converted base."""
    folder = tmp_path_factory.mktemp("base")
    convert_video_llava(write_video_llava(folder / "released"), folder / "base")
    return folder / "base"


# --- Against the original classes -----------------------------------------------------------------------------


@pytest.fixture
def fixture_lora(network, adapter, raw_config, tmp_path):
    """(folder of the fixture's base as ours, folder of its adapter as released)."""
    network.save_pretrained(tmp_path / "base")
    (tmp_path / "lora").mkdir()
    save_state(tmp_path / "lora", adapter, "bin", 1, stem="adapter_model")
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(raw_config["adapter_config"]))
    torch.save({}, tmp_path / "lora" / "non_lora_trainables.bin")
    return tmp_path / "base", tmp_path / "lora"


def compare(network, io):
    """Largest differences of logits, answer logits and scores from the original's with its LoRA."""
    made = embeds(network, io, "input_ids", "attention_mask", left=True)
    apart = (made["logits"] - io["lora.out.logits"]).abs()[io["out.spliced_attention_mask"].bool()]
    answers = made["logits"][:, -1]
    return (
        float(apart.max()),
        float((answers - io["lora.out.answer_logits"]).abs().max()),
        float((scores(answers) - io["lora.out.scores"]).abs().max()),
    )


def reloaded(folder):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder).eval()


def test_the_adapter_gives_the_originals_logits(fixture_lora, io, tmp_path):
    from peft import PeftModel

    base, lora = fixture_lora
    report = convert_video_llava_lora(lora, tmp_path / "out", base)
    assert report == {"modules": 14, "rank": 4, "alpha": 12.0}
    model = PeftModel.from_pretrained(reloaded(base), tmp_path / "out").eval()
    logits, answers, score = compare(model.get_base_model(), io)
    assert logits < TOLERANCE["logits"]
    assert answers < TOLERANCE["answer_logits"]
    assert score < TOLERANCE["scores"]


def test_a_merged_model_gives_them_too(fixture_lora, io, tmp_path):
    base, lora = fixture_lora
    convert_video_llava_lora(lora, tmp_path / "out", base, merge="float32", shard_bytes=100_000)
    logits, _, score = compare(reloaded(tmp_path / "out"), io)
    assert logits < TOLERANCE["logits"]
    assert score < TOLERANCE["scores"]


@pytest.mark.parametrize(
    ("change", "least"),
    [
        ({"scale": 2}, 0.3),  # alpha / r doubled
        ({"scale": 1 / 3}, 0.2),  # taken as 1
        ({"scale": 0}, 0.3),  # names not matched: PEFT only warns
        ({"without": ".mlp."}, 0.2),
        ({"without": ".self_attn."}, 0.2),
    ],
)
def test_a_wrong_adapter_is_seen(fixture_lora, io, tmp_path, change, least):
    from peft import PeftModel

    base, lora = fixture_lora
    convert_video_llava_lora(lora, tmp_path / "out", base)
    model = PeftModel.from_pretrained(reloaded(base), tmp_path / "out").eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data *= 0 if change.get("without", "nowhere") in name else change.get("scale", 1)
    assert compare(model.get_base_model(), io)[2] > least


def test_the_exact_merge_is_the_releases(weights, adapter, io):
    """peft 0.4.0 on a base in fp16, every element equal; other roundings move a third of them."""
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"):
        low, high = (adapter[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
        weight, expected = weights[f"{name}.weight"], io[f"exact.merged_fp16.{name}.weight"]
        assert torch.equal(merge_exact(weight, low, high, 3.0), expected)
        assert merge_exact(weight, low, high, 3.0).dtype == torch.float16
        share = {
            "rounded matrices": merge_exact(weight, low.half().float(), high.half().float(), 3.0),
            "rounded product": weight.half() + (3.0 * (high @ low)).half(),
        }
        for how, other in share.items():
            assert (other != expected).float().mean() > 0.2, how
        assert (merge_float32(weight, low, high, 3.0) - expected.float()).abs().max() < 4e-3


def test_the_whole_exact_merge(fixture_lora, io, tmp_path):
    base, lora = fixture_lora
    convert_video_llava_lora(lora, tmp_path / "out", base, merge="released")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {torch.float16}
    for name in ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"):
        expected = io[f"exact.merged_fp16.model.{name}.weight"]
        assert torch.equal(merged[f"model.language_model.{name}.weight"], expected)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"
    model = reloaded(tmp_path / "out").to(torch.bfloat16)
    answers = embeds(model, io, "input_ids", "attention_mask", left=True)["logits"][:, -1].float()
    # Rounding to bf16 depends on kernels: near, and no nearer.
    assert (scores(answers) - io["exact.out.scores_bf16"].float()).abs().max() < 2e-2


# --- Forms of a release ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"form": "bin", "beside": {}},
        {"form": "safetensors", "beside": None},
        {"form": "bin", "nested": "checkpoint-5181", "beside": {}},
        {"form": "bin", "dtype": torch.bfloat16},
    ],
)
def test_what_a_release_may_hold(base, tmp_path, given):
    lines = []
    source = write_video_llava_lora(tmp_path / "lora", **given)
    report = convert_video_llava_lora(source, tmp_path / "out", base, say=lines.append)
    assert report == {"modules": 14, "rank": RANK, "alpha": ALPHA}
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    # Trap: the adapter's own base is Vicuna. Trap: bare names would also name the towers' layers.
    assert settings["base_model_name_or_path"] == str(base)
    assert settings["target_modules"] == LANGUAGE_MODEL_LINEARS
    assert (settings["r"], settings["lora_alpha"], settings["inference_mode"]) == (RANK, ALPHA, True)
    # Trap: with a config.json the folder would be taken for a whole model.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "conversion.json",
        "training_args.json",
    ]
    checkpoint = find_checkpoint(str(tmp_path / "out"))
    assert (checkpoint.base, checkpoint.model_type) == (str(base), "video_llava_original")
    assert (checkpoint.trained_prompt, checkpoint.trained_frames) == ("video-llava-eval", 8)
    assert checkpoint.trained_space == "original"
    made_of = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert made_of["named_base"] == "lmsys/vicuna-7b-v1.5"
    assert "vicuna-7b-v1.5" in made_of["note"]
    assert "aecae02" in made_of["note"]
    from synvita_data.files import sha256_file

    place = source / given.get("nested", ".")
    for name, facts in made_of["adapter"]["files"].items():
        assert facts["sha256"] == sha256_file(place / name)
    assert str(tmp_path) not in (tmp_path / "out" / "conversion.json").read_text()


def test_it_is_scored_by_its_own_name_on_the_language_model_alone(base, tmp_path):
    """Trap: names that PEFT does not find give the base's scores, with a warning."""
    from synvita_data.scoring.alignment import AlignmentScorer

    convert_video_llava_lora(write_video_llava_lora(tmp_path / "lora"), tmp_path / "out", base)
    scorer = AlignmentScorer.open(str(tmp_path / "out"), device="cpu")
    assert (scorer.prompt, scorer.frames.count) == ("video-llava-eval", 8)
    assert scorer.settings["placeholder_space"] == "original"
    named = dict(scorer.model.named_parameters())
    found = {name for name in named if "lora_" in name}
    assert len(found) == 28
    assert all("language_model" in name for name in found)
    for key, tensor in lora_state("base_model.model.model.").items():
        ours = key.replace("model.model.model.", "model.model.model.language_model.").replace(".weight", "")
        assert torch.equal(named[f"model.{ours}.default.weight"], tensor)


def test_unrenamed_keys_are_refused_by_the_loader(base, tmp_path):
    from synvita_data.scoring.alignment import AlignmentScorer

    folder = tmp_path / "raw"
    folder.mkdir()
    save_state(folder, lora_state("base_model.model.model."), "safetensors", 1, stem="adapter_model")
    settings = adapter_config(base_model_name_or_path=str(base))
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(SynvitaError, match=r"another base model.*model.layers.0.*convert video-llava-lora"):
        AlignmentScorer.open(str(folder), device="cpu")


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        (lambda key, each: (key, each), {"r": 8}, r"another rank than its settings say.*r = 8.*4, the rank"),
        (
            lambda key, each: (key.removeprefix("base_model.model."), each),
            {},
            r"not named as PEFT.*base_model\.model\.model\.language_model",
        ),
        (lambda key, each: (key, each) if "lora_A" in key else None, {}, r"half an adapter.*lora_A alone of"),
        (lambda key, each: (key.replace("lora_", "other_"), each), {}, "holds no LoRA.*other_A"),
        (lambda key, each: (key, each * float("nan")), {}, "not a finite number.*lora_A"),
    ],
)
def test_an_adapter_that_peft_would_pass_over_or_fail_on(base, tmp_path, change, settings, words):
    """PEFT warns at most of names that it does not know, and gives the base's scores."""
    from synvita_data.scoring.open import open_scorer

    folder = tmp_path / "out"
    convert_video_llava_lora(write_video_llava_lora(tmp_path / "lora"), folder, base)
    weights = load_file(folder / "adapter_model.safetensors")
    changed = dict(filter(None, (change(key, each) for key, each in weights.items())))
    save_state(folder, changed, "safetensors", 1, stem="adapter_model")
    noted = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(noted | settings))
    with pytest.raises(SynvitaError, match=words):
        open_scorer(str(folder), device="cpu")


def test_a_folder_as_released_is_named_by_the_loader(base, tmp_path):
    """As it is, without its config.json, and as an adapter beside a base."""
    source = write_video_llava_lora(tmp_path / "lora", beside={})
    with pytest.raises(
        SynvitaError, match=r"adapter in the layout of LLaVA.*convert video-llava-lora DIR OUT"
    ):
        find_checkpoint(str(source))
    with pytest.raises(
        SynvitaError, match=r"adapter in the layout of LLaVA.*convert video-llava-lora DIR OUT"
    ):
        find_checkpoint(str(base), adapter=str(source))
    (source / "config.json").unlink()
    with pytest.raises(
        SynvitaError, match=r"adapter_model.bin and non_lora_trainables.bin.*video-llava-lora"
    ):
        find_checkpoint(str(source))


# --- What was trained beside it -------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["base_model.model.model.", "model.model.", "model."])
def test_a_projector_trained_beside_it_is_merged(base, tmp_path, prefix):
    beside = {f"{prefix}mm_projector.0.weight": torch.full((32, 64), 0.5)}
    source = write_video_llava_lora(tmp_path / "lora", beside=beside)
    with pytest.raises(SynvitaError, match=r"trained beside.*linear_1.weight.*--merge"):
        convert_video_llava_lora(source, tmp_path / "out", base)
    assert not (tmp_path / "out").exists()
    convert_video_llava_lora(source, tmp_path / "out", base, merge="float32")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert (merged["model.multi_modal_projector.linear_1.weight"] == 0.5).all()


def test_towers_beside_it_are_left_out_and_embeddings_have_fewer_rows(base, tmp_path):
    from released_layouts import vocabulary

    beside = {
        "model.video_tower.video_tower.post_layernorm.weight": torch.zeros(64),
        "model.embed_tokens.weight": torch.full((vocabulary(), 32), 0.25),
    }
    lines = []
    source = write_video_llava_lora(tmp_path / "lora", beside=beside)
    convert_video_llava_lora(source, tmp_path / "out", base, merge="float32", say=lines.append)
    merged, own = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", base))
    assert any("1 weights of towers" in line for line in lines)
    tower = "model.video_tower.post_layernorm.weight"
    assert torch.equal(merged[tower], own[tower])
    rows = merged["model.language_model.embed_tokens.weight"]
    assert (rows[: vocabulary()] == 0.25).all()
    assert torch.equal(rows[vocabulary() :], own["model.language_model.embed_tokens.weight"][vocabulary() :])


def test_merging_equals_pefts_own(base, tmp_path):
    from peft import PeftModel

    source = write_video_llava_lora(tmp_path / "lora")
    convert_video_llava_lora(source, tmp_path / "adapter", base)
    convert_video_llava_lora(source, tmp_path / "whole", base, merge="float32")
    theirs = PeftModel.from_pretrained(reloaded(base).float(), tmp_path / "adapter").merge_and_unload()
    ours = reloaded(tmp_path / "whole")
    assert ours.dtype == torch.bfloat16
    for name, tensor in ours.state_dict().items():
        assert torch.allclose(tensor.float(), theirs.state_dict()[name], rtol=2**-7, atol=1e-3), name
    assert (tmp_path / "whole" / "processor_config.json").is_file()
    assert find_checkpoint(str(tmp_path / "whole")).trained_prompt == "video-llava-eval"


# --- What is refused, before any forward ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({f"{FIRST}.lora_A.weight": torch.zeros(RANK, 31)}, r"another base model.*q_proj.*\[32, 32\]"),
        ({f"{FIRST}.lora_A.weight": None}, "half an adapter.*lora_B alone"),
        (
            {f"{FIRST}.lora_A.weight": torch.zeros(3, 32), f"{FIRST}.lora_B.weight": torch.zeros(32, 3)},
            r"another rank than its settings.*r = 4.*3",
        ),
        ({"settings": {"r": 8}}, r"another rank than its settings say.*r = 8.*4, the rank"),
        ({f"{FIRST}.lora_A.weight": None, f"{FIRST}.lora_B.weight": None}, "lacks layers.*13 layers"),
        ({f"{FIRST}.lora_B.weight": torch.full((32, RANK), float("nan"))}, "not a finite number.*q_proj"),
        (
            {f"{FIRST}.lora_B.weight": torch.ones(32, RANK).to(torch.int8)},
            "not a finite number.*q_proj, int8",
        ),
        (
            {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.zeros(4, 32)},
            "half an adapter",
        ),
        ({"base_model.model.query_tokens": torch.zeros(2)}, "not a weight of a LoRA.*query_tokens"),
        (
            {"base_model.model.model.video_tower.video_tower.encoder.x.lora_A.weight": torch.zeros(4, 4)},
            "not a weight of a LoRA.*video_tower",
        ),
        ({"settings": {"use_rslora": True}}, "not a plain LoRA.*use_rslora"),
        ({"settings": {"bias": "all"}}, "not a plain LoRA.*bias"),
        ({"settings": {"modules_to_save": ["mm_projector"]}}, "not a plain LoRA.*modules_to_save"),
        ({"settings": {"lora_alpha": None}}, "lack rank, alpha"),
        ({"beside": {"model.model.unknown": torch.zeros(1)}}, "unknown weight.*unknown"),
        ({"beside": {"model.mm_projector.9.weight": torch.zeros(1)}}, "unknown weight"),
    ],
)
def test_what_is_refused(base, tmp_path, given, words):
    source = write_video_llava_lora(tmp_path / "lora", **given)
    with pytest.raises(SynvitaError, match=words):
        convert_video_llava_lora(source, tmp_path / "out", base)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lora"]


def test_an_untrained_adapter(base, tmp_path):
    zero = {k: torch.zeros_like(v) for k, v in lora_state("base_model.model.model.").items() if "lora_B" in k}
    source = write_video_llava_lora(tmp_path / "lora", **zero)
    with pytest.raises(SynvitaError, match="changes nothing"):
        convert_video_llava_lora(source, tmp_path / "out", base)


def test_layers_of_a_larger_base(base, tmp_path):
    """An adapter with more layers than the base has."""
    more = {
        key.replace("layers.0", "layers.2"): tensor
        for key, tensor in lora_state("base_model.model.model.").items()
        if "layers.0" in key
    }
    source = write_video_llava_lora(tmp_path / "lora", **more)
    with pytest.raises(SynvitaError, match=r"another base model.*layers.2.*no such layer"):
        convert_video_llava_lora(source, tmp_path / "out", base)


def test_attention_alone_as_its_settings_say(base, tmp_path):
    mlp = {key: None for key in lora_state("base_model.model.model.") if ".mlp." in key}
    attention = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
    source = write_video_llava_lora(tmp_path / "lora", settings=attention, **mlp)
    assert convert_video_llava_lora(source, tmp_path / "out", base)["modules"] == 8
    targets = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["target_modules"]
    assert len(targets) == 8
    assert all(name.startswith("model.language_model.layers.") for name in targets)


def test_several_checkpoints_none_and_half_of_one(base, tmp_path):
    source = write_video_llava_lora(tmp_path / "lora", nested="checkpoint-10")
    write_video_llava_lora(tmp_path / "other", nested="checkpoint-20")
    (tmp_path / "other" / "checkpoint-20").rename(source / "checkpoint-20")
    with pytest.raises(SynvitaError, match=r"several checkpoints.*checkpoint-10, checkpoint-20"):
        read_llava_lora(source)
    with pytest.raises(SynvitaError, match="no such folder"):
        read_llava_lora(tmp_path / "nowhere")
    place = source / "checkpoint-10"
    (place / "adapter_config.json").unlink()
    with pytest.raises(SynvitaError, match="without its settings"):
        read_llava_lora(place)
    (place / "adapter_config.json").write_text(json.dumps(adapter_config()))
    whole = (place / "adapter_model.bin").read_bytes()
    (place / "adapter_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SynvitaError, match=r"cannot be read.*cut off"):
        read_llava_lora(place)
    torch.save({"a": 1, "b": torch.zeros(1)}, place / "adapter_model.bin")
    with pytest.raises(SynvitaError, match=r"not a state dict.*int"):
        read_llava_lora(place)
    # Said plainly, without torch's advice how to run it.
    torch.save({"a": Path("x")}, place / "adapter_model.bin")
    with pytest.raises(
        SynvitaError, match=r"object that is no tensor \(pathlib\.\w+\); nothing of it was run"
    ):
        read_llava_lora(place)
    for content, words in ((b"", "an empty file"), (b"hello", "something else than a file of torch")):
        (place / "adapter_model.bin").write_bytes(content)
        with pytest.raises(SynvitaError, match=words):
            read_llava_lora(place)


def test_a_wrong_base(base, tmp_path):
    from synvita_data.testing import make_tiny

    source = write_video_llava_lora(tmp_path / "lora")
    with pytest.raises(SynvitaError, match=r"not a base model.*llava.*convert video-llava DIR OUT"):
        convert_video_llava_lora(source, tmp_path / "out", write_video_llava(tmp_path / "released"))
    owl = make_tiny("mplug-owl", tmp_path / "owl")
    with pytest.raises(SynvitaError, match=r"not a base model.*mplug-owl"):
        convert_video_llava_lora(source, tmp_path / "out", owl)
    port = make_tiny("video_llava", tmp_path / "port")
    lines = []
    convert_video_llava_lora(source, tmp_path / "out", port, base_name="org/port", say=lines.append)
    assert any("no attention over time" in line for line in lines)
    smaller = make_tiny("video_llava_original", tmp_path / "smaller", hidden_size=16, heads=2)
    with pytest.raises(SynvitaError, match="another base model"):
        convert_video_llava_lora(source, tmp_path / "none", smaller)


def test_the_command(base, tmp_path):
    from synvita_data.cli import app

    source = write_video_llava_lora(tmp_path / "lora", nested="checkpoint-5181", beside={})

    def run(*arguments):
        return CliRunner().invoke(app, ["convert", "video-llava-lora", str(source), *map(str, arguments)])

    assert run(tmp_path / "a").exit_code == 2  # no base: the adapter's own is never taken
    done = run(tmp_path / "a", "--base", base)
    assert done.exit_code == 0, done.output
    assert "rank 4 and alpha 8 on 14 layers" in done.output
    merged = run(tmp_path / "m", "--base", base, "--merge", "--merge-rounding", "released")
    assert merged.exit_code == 0, merged.output
    assert (tmp_path / "m" / "model.safetensors").is_file()
    assert run(tmp_path / "n", "--base", base, "--alpha", "3").exit_code == 2
    assert run(tmp_path / "n", "--base", base, "--merge-rounding", "released").exit_code == 2
    raw = run(tmp_path / "n", "--base", write_video_llava(tmp_path / "released"))
    assert isinstance(raw.exception, SynvitaError)
    assert "convert video-llava DIR OUT" in str(raw.exception)
