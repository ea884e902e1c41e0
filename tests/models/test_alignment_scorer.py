"""`AlignmentScorer`: the protocol, checkpoints and adapters, the feature cache, and what is refused in time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from stock_models import load, stock_log_odds

from synvita_data.captions import Text
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.models import AlignmentModel, ContextError, videos
from synvita_data.scoring import Scorer, ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.scoring.open import open_scorer
from synvita_data.video import FramePolicy, decode, encode_mp4

TEXTS = (Text("A man plays a guitar."), Text("A man plays a piano.", ((14, 19),)), Text("A dog runs."))
WORDING = 'USER: <video>\nDoes this video entail the description: "{}"? ASSISTANT:'


@pytest.fixture(scope="module")
def checkpoint(checkpoint_of):
    return checkpoint_of("video_llava")


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Three videos with texts; the second is damaged."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for number in range(3):
        path = folder / f"{number}.mp4"
        pixels = np.random.default_rng(number).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
        encode_mp4(pixels, 4, path)
        if number == 1:
            path.write_bytes(path.read_bytes()[:300])
        made.append(ScoringItem(f"item{number}", f"v{number}", path, TEXTS, ("a", "b", "c")))
    return made


def by_item(made, items):
    return {answer.item_id: answer for answer in made.score(items)}


def adapter_for(checkpoint: Path, folder: Path, scale: float = 0.5) -> Path:
    """A random LoRA adapter, saved as PEFT saves one."""
    from peft import LoraConfig, get_peft_model

    network, processor = load(checkpoint)
    torch.manual_seed(1)
    targets = AlignmentModel(network, processor).family.lora_targets
    adapted = get_peft_model(network, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            weights.data.mul_(scale)
    adapted.save_pretrained(folder)
    return folder


def test_scores_are_the_stock_models(checkpoint, items):
    made = open_scorer(str(checkpoint), device="cpu")
    assert isinstance(made, AlignmentScorer)
    assert isinstance(made, Scorer)
    assert (made.kind, made.prompt) == ("log_odds", "video-llava")
    assert made.frames == FramePolicy(count=8, rule="linspace")
    json.dumps(made.settings)
    answers = by_item(made, items)
    assert list(answers) == ["item0", "item1", "item2"]
    assert answers["item1"].scores is None
    assert type(answers["item1"].error).__module__ == "synvita_data.errors"
    stock = load(checkpoint)
    for number in (0, 2):
        frames = decode(items[number].video, FramePolicy(count=8, rule="linspace"))
        answer = answers[f"item{number}"]
        assert answer.scores.dtype == np.float32
        assert answer.frame_indices == frames.indices
        expected = [
            stock_log_odds(*stock, frames, WORDING.format(t.caption), t.caption, t.hidden) for t in TEXTS
        ]
        assert np.abs(answer.scores - expected).max() < 1e-5


@pytest.mark.parametrize("strategy", ["plain", "packed", "cached"])
def test_a_forced_way_and_every_company_give_the_same(checkpoint, items, strategy):
    free = by_item(AlignmentScorer.open(str(checkpoint), device="cpu"), items)
    made = AlignmentScorer.open(str(checkpoint), device="cpu", strategy=strategy)
    assert made.settings["way"] == strategy
    together = by_item(made, items[::-1])
    for item in (items[0], items[2]):
        assert np.abs(together[item.item_id].scores - free[item.item_id].scores).max() < 1e-5
        (alone,) = made.score([item])
        assert alone.scores.tolist() == together[item.item_id].scores.tolist()  # to the bit


def test_an_adapter_alone_or_named_changes_the_scores_alike(checkpoint, items, tmp_path):
    adapter = adapter_for(checkpoint, tmp_path / "adapter")
    plain = AlignmentScorer.open(str(checkpoint), device="cpu")
    alone = open_scorer(str(adapter), device="cpu")
    named = open_scorer(str(checkpoint), device="cpu", video_llm={"adapter": str(adapter)})
    assert alone.revision == named.revision
    assert alone.revision.startswith(plain.revision + "+")
    bare, one, other = (by_item(each, items[:1])["item0"].scores for each in (plain, alone, named))
    assert one.tolist() == other.tolist()
    assert np.abs(one - bare).min() > 1e-3
    # By hand: the weights merged into the stock model.
    from peft import PeftModel

    network, processor = load(checkpoint)
    merged = PeftModel.from_pretrained(network, adapter).merge_and_unload()
    frames = decode(items[0].video, FramePolicy(count=8, rule="linspace"))
    expected = [
        stock_log_odds(merged, processor, frames, WORDING.format(t.caption), t.caption, t.hidden)
        for t in TEXTS
    ]
    assert np.abs(one - expected).max() < 1e-5


def test_another_adapter_is_another_revision(checkpoint, tmp_path):
    one = adapter_for(checkpoint, tmp_path / "one")
    two = adapter_for(checkpoint, tmp_path / "two", scale=0.25)
    revisions = {open_scorer(str(each), device="cpu").revision for each in (one, two, checkpoint)}
    assert len(revisions) == 3


@pytest.fixture
def without_weights(checkpoint, tmp_path):
    """A copy of the checkpoint whose weights are gone: what is found wrong with it was found before them."""
    folder = tmp_path / "without"
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").unlink()
    return folder


def test_an_adapter_for_another_base_is_refused_before_weights_are_read(without_weights, tmp_path):
    from synvita_data.testing import make_tiny

    with pytest.raises(SynvitaError, match="cannot load the model"):
        open_scorer(str(without_weights), device="cpu")
    for name, sizes in (("wide", {"hidden_size": 64}), ("deep", {"layers": 3})):
        other = adapter_for(make_tiny("video_llava", tmp_path / name, **sizes), tmp_path / f"{name}-adapter")
        with pytest.raises(SynvitaError, match="for another base model"):
            open_scorer(str(without_weights), device="cpu", video_llm={"adapter": str(other)})


def test_faults_of_a_checkpoint_are_found_before_weights_are_read(without_weights):
    def settings(name, **changes):
        path = without_weights / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    with pytest.raises(CaptionError, match="unknown prompt"):
        open_scorer(str(without_weights), device="cpu", video_llm={"prompt": "polite"})
    with pytest.raises(SynvitaError, match="attention"):
        open_scorer(str(without_weights), device="cpu", video_llm={"attention": "flash_attention_2"})
    with pytest.raises(SynvitaError, match="dtype"):
        open_scorer(str(without_weights), device="cpu", dtype="int4")
    (without_weights / "chat_template.jinja").write_text(
        "{{ messages[0]['content'][1]['text'] }}<video> ASSISTANT:"
    )
    with pytest.raises(SynvitaError, match="before the video"):
        open_scorer(str(without_weights), device="cpu", video_llm={"prompt": "question"})
    settings("config.json", model_type="smolvlm")
    with pytest.raises(SynvitaError, match="cannot be scored with"):
        open_scorer(str(without_weights), device="cpu")


def test_a_missing_weight_is_refused(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "holes"
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if name.endswith("lm_head.weight"))]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SynvitaError, match="does not hold all weights"):
        open_scorer(str(folder), device="cpu")


def test_nothing_and_half_an_adapter_are_refused(checkpoint, tmp_path):
    with pytest.raises(SynvitaError, match="the model cannot be found"):
        open_scorer(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(checkpoint)}))
    with pytest.raises(SynvitaError, match="the adapter cannot be found"):
        open_scorer(str(tmp_path), device="cpu")
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(tmp_path / "x")})
    )
    with pytest.raises(SynvitaError, match=r"cannot be found"):
        open_scorer(str(tmp_path), device="cpu")
    with pytest.raises(SynvitaError, match="for Video LLMs"):
        open_scorer("chance", video_llm={"strategy": "plain"})


def test_texts_are_checked_before_long_work(checkpoint, items):
    made = AlignmentScorer.open(str(checkpoint), device="cpu")
    made.check_texts(TEXTS)
    with pytest.raises(ContextError, match="does not fit"):
        made.check_texts([*TEXTS, Text("dog " * 3000)])
    with pytest.raises(CaptionError, match="special token"):
        made.check_texts([Text("a </s> dog")])
    # A scorer that was not asked before says it of the item, and goes on.
    long = ScoringItem("long", "v0", items[0].video, (Text("dog " * 3000),), ("x",))
    first, second = made.score([long, items[0]])
    assert isinstance(first.error, ContextError)
    assert second.scores is not None


def test_the_feature_cache_gives_the_same_bits_without_decoding(checkpoint, items, tmp_path, monkeypatch):
    bare = by_item(AlignmentScorer.open(str(checkpoint), device="cpu"), items)
    options = {"device": "cpu", "cache": tmp_path / "features"}
    first = by_item(AlignmentScorer.open(str(checkpoint), **options), items)
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 2
    decoded = []

    def decode_too(*arguments, **named):
        decoded.append(arguments[0])
        return decode(*arguments, **named)

    monkeypatch.setattr(videos, "decode", decode_too)
    # Another adapter of the language model uses the same features; an item given as bytes too.
    adapter = adapter_for(checkpoint, tmp_path / "adapter")
    list(AlignmentScorer.open(str(checkpoint), adapter=str(adapter), **options).score([items[0], items[2]]))
    as_bytes = ScoringItem("bytes", "v0", items[0].video.read_bytes(), TEXTS, ("a", "b", "c"))
    second = by_item(AlignmentScorer.open(str(checkpoint), **options), [*items, as_bytes])
    assert decoded == [items[1].video]
    assert first.keys() | {"bytes"} == second.keys()
    for name in ("item0", "item2"):
        assert bare[name].scores.tolist() == first[name].scores.tolist() == second[name].scores.tolist()
        assert first[name].frame_indices == second[name].frame_indices
        assert first[name].details == second[name].details
    assert second["bytes"].scores.tolist() == bare["item0"].scores.tolist()
    for changed in ({"frames": {"count": 4}}, {"dtype": "bfloat16"}, {"prompt": "video-llava-eval"}):
        decoded.clear()
        list(AlignmentScorer.open(str(checkpoint), **{**options, **changed}).score(items[:1]))
        assert len(decoded) == 1, changed


def test_a_full_cache_keeps_what_it_has_and_a_damaged_file_counts_for_nothing(checkpoint, items, tmp_path):
    folder = tmp_path / "features"
    # 8 frames of 5 tokens of 32 numbers of 4 bytes: 5,120 bytes a video and a few hundred of header.
    options = {"device": "cpu", "cache": folder, "cache_bytes": 9_000}
    bare = by_item(AlignmentScorer.open(str(checkpoint), device="cpu"), items)
    for _ in range(2):
        found = by_item(AlignmentScorer.open(str(checkpoint), **options), items)
        (kept,) = folder.rglob("*.safetensors")
        assert kept.stat().st_size < 9_000
        assert found["item2"].scores.tolist() == bare["item2"].scores.tolist()
    kept.write_bytes(b"\0" * kept.stat().st_size)
    found = by_item(AlignmentScorer.open(str(checkpoint), **options), items)
    assert found["item0"].scores.tolist() == bare["item0"].scores.tolist()


def test_rows_shrink_when_memory_is_short(checkpoint, items, monkeypatch):
    made = AlignmentScorer.open(str(checkpoint), device="cpu")
    expected = by_item(made, items[:1])["item0"].scores
    right = made.model.forward

    def tight(*arguments, **options):
        if options["strategy"] != "cached" or options["branch_tokens"] > 1000:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(*arguments, **options)

    monkeypatch.setattr(made.model, "forward", tight)
    (answer,) = made.score(items[:1])
    assert np.abs(answer.scores - expected).max() < 1e-5
    monkeypatch.setattr(
        made.model, "forward", lambda *a, **k: (_ for _ in ()).throw(torch.OutOfMemoryError())
    )
    with pytest.raises(torch.OutOfMemoryError):
        list(made.score(items[:1]))


def test_a_device_map_gives_the_same(checkpoint, items):
    spread = AlignmentScorer.open(str(checkpoint), device_map="cpu")
    one = AlignmentScorer.open(str(checkpoint), device="cpu")
    pair = [by_item(each, items[:1])["item0"].scores.tolist() for each in (spread, one)]
    assert pair[0] == pair[1]


@pytest.mark.slow
def test_a_machine_with_torch_and_transformers_only_can_import_and_score(checkpoint):
    """GPU benchmarks on synthetic frames run where nothing decodes videos or reads data sets."""
    import subprocess
    import sys

    absent = [
        "datasets",
        "av",
        "decord",
        "torchcodec",
        "diffusers",
        "evaluate",
        "rapidfuzz",
        "peft",
        "pyarrow",
    ]
    script = f"""
import sys
for name in {absent!r}:
    sys.modules[name] = None
import numpy as np
from transformers import AutoModelForImageTextToText, AutoProcessor
import synvita_data.scoring.alignment
from synvita_data.models import AlignmentModel
from synvita_data.captions import Text
from synvita_data.video.frames import Frames
folder = {str(checkpoint)!r}
model = AutoModelForImageTextToText.from_pretrained(folder)
video = Frames(np.zeros((2, 28, 28, 3), np.uint8), (0, 1), (0.0, 1.0), 1.0, "black", "none")
print(AlignmentModel(model, AutoProcessor.from_pretrained(folder))([video], [[Text("a")]]).log_odds.item())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout.split()[-1]))
