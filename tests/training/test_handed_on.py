"""Settings that one part hands on to another, each at a value that is not the receiver's default."""

import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
import yaml
from loopback_hub import run_client
from small_trainer import arguments, load, make_trainer, small_rows, step_gradients, triplets_of
from small_triplets import row, tiny_model

from synvita_data.errors import SynvitaError
from synvita_data.training import SynViTATrainer, TripletData, merge_adapter
from synvita_data.training.data.features import feature_cache_of, fill_feature_cache
from synvita_data.training.evaluation import EvaluationPairs
from synvita_data.training.stock.collator import StockCollator
from synvita_data.video import FramePolicy, encode_mp4

# The world is made once, not once a process.
pytestmark = pytest.mark.xdist_group("handed on")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


# The trainer


@pytest.mark.parametrize("tune", ["lora", "language-model"])
def test_the_attention_of_the_language_model(checkpoint, tmp_path, tune):
    for attention in ("eager", "sdpa"):
        trainer = make_trainer(checkpoint, tmp_path, small_rows(2), attention=attention, tune=tune)
        language = trainer.alignment.family.language_model
        assert language.config._attn_implementation == attention


def test_without_explanations_none_is_computed(checkpoint, tmp_path):
    """`explains` of the arguments is the module's: the text is not scored, and not only weighed with 0."""
    data = small_rows(4)
    assert any(each["explanation"] for each in data)
    for changes, some in (({}, True), ({"nle_weight": 0.0}, False), ({"nle_share": 0.0}, False)):
        trainer = make_trainer(checkpoint, tmp_path, data, **changes)
        scores = trainer.module(triplets=trainer.train_dataset)
        assert bool(scores.explanation_loss.any()) is some
        step_gradients(trainer)
        assert (trainer.state.log_history[0]["loss/explanation"] > 0) is some


def test_without_l_scr_its_term_is_not_taken(checkpoint, tmp_path):
    trainer = make_trainer(checkpoint, tmp_path, small_rows(4), scr_weight=0.0)
    step_gradients(trainer)
    assert trainer.state.log_history[0]["loss/consistency"] == 0.0  # Eq. 6 of scores of 0 would be more
    assert trainer.evaluate(trainer.train_dataset)["eval_loss/consistency"] == 0.0


def test_an_optimizer_of_ones_own(checkpoint, tmp_path):
    model, processor = load(checkpoint)
    triplets = triplets_of(small_rows(2), model, processor)
    optimizer = torch.optim.SGD([next(model.parameters())], lr=0.125)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    trainer = SynViTATrainer(
        model, processor, arguments(tmp_path), triplets, optimizers=(optimizer, schedule)
    )
    assert trainer.optimizer is optimizer
    assert trainer.lr_scheduler is schedule


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_type_of_merged_weights(checkpoint, tmp_path, dtype):
    trainer = make_trainer(checkpoint, tmp_path / "out", small_rows(2))
    trainer.save_model()
    from safetensors.torch import load_file

    merged = merge_adapter(tmp_path / "out", tmp_path / "merged", dtype=dtype)
    (weights,) = merged.glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(weights).values()} == {getattr(torch, dtype)}


# Data


def damaged() -> bytes:
    """A clip whose damage only decoding every frame shows."""
    import tempfile

    still = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    moving = np.concatenate([np.roll(still, 3 * n, axis=2) for n in range(40)])
    with tempfile.TemporaryDirectory() as folder:
        encode_mp4(moving, 8.0, Path(folder) / "clip.mp4")
        whole = (Path(folder) / "clip.mp4").read_bytes()
    with av.open(BytesIO(whole)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size > 60]
    # In nearly every packet: of a single damaged one FFmpeg's threads do not always tell.
    damaged_ones = bytearray(whole)
    for position, size in spans[3:]:
        damaged_ones[position + 40 : position + size] = b"\xff" * (size - 40)
    return bytes(damaged_ones)


def test_a_check_that_decodes_every_frame_finds_more():
    rows = [row(0), row(1, synthetic_video={"bytes": damaged(), "path": "x.mp4"})]
    for decode_all, found in ((False, []), (True, [("synthetic", (1,))])):
        data = TripletData(rows, tiny_model())
        bad = data.check_videos(decode_all=decode_all)
        assert [(each.kind, tuple(each.rows)) for each in bad] == found


def test_frames_and_cache_of_held_out_pairs(tmp_path):
    frames = FramePolicy(count=3, rule="linspace")
    model = tiny_model()
    item = EvaluationPairs([row(0)], model, frames=frames)[0]
    assert item.video.inputs["pixel_values_videos"].shape[1] == 3
    flags = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        cache = feature_cache_of(model, "revision", tmp_path, frames=frames)

        data = TripletData([row(0)], model, frames=frames, cache=cache)
        assert fill_feature_cache(data, model).made == 2
    finally:
        for parameter, flag in zip(model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
    cached = EvaluationPairs([row(0)], model, frames=frames, cache=cache)[0].video
    assert cached.features["patches"].shape[0] == 3


def test_frames_of_a_stock_trainers_data(checkpoint):
    collator = StockCollator(*load(checkpoint))
    preparer = collator.preparer(FramePolicy(count=2, rule="linspace"))
    triplet = TripletData([row(0)], preparer)[0]
    assert triplet.real.inputs["pixel_values_videos"].shape[1] == 2


# A run, from its recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory, checkpoint):
    from synvita_data.builders.dataset import BuildOptions, build_dataset
    from synvita_data.builders.shapes import make_shapes

    root = tmp_path_factory.mktemp("world")
    shapes = make_shapes(root / "shapes", pairs=28, seed=1)
    options = BuildOptions(
        triplets=shapes.triplets,
        vqascores=shapes.vqascores,
        synthetic=f"folder:{shapes.synthetic}",
        config="shapes",
        out=root / "dataset",
    )
    build_dataset(options)
    return SimpleNamespace(dataset=root / "dataset", real=shapes.real, model=checkpoint)


@pytest.fixture
def prepared(world, tmp_path):
    """`run = prepared(key=value, …)`: all that a recipe names, loaded and checked, nothing trained."""
    from synvita_data.training.run import open_recipe, prepare

    def make(dry_run=True, **changes):
        values = {
            "model": str(world.model),
            "dtype": "float32",
            "data": str(world.dataset),
            "split": "train[:4]",
            "real_root": str(world.real),
            "output_dir": str(tmp_path / "out"),
            "max_steps": 1,
            "use_cpu": True,
            "disable_tqdm": True,
            "save_strategy": "no",
            "check_videos": False,
            **changes,
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        return prepare(open_recipe(path, []), lambda line: None, dry_run=dry_run)

    return make


def test_type_attention_and_frames_of_a_recipe(prepared, tmp_path):
    run = prepared(dtype="bfloat16", attention="eager", frames=3, feature_cache=str(tmp_path / "cache"))
    model = run.trainer.alignment.family.model
    assert model.dtype == torch.bfloat16
    assert run.trainer.alignment.family.language_model.config._attn_implementation == "eager"
    assert run.triplets.preparer.frames.count == 3
    assert "count=3" in run.base["frames"]
    # The cache is that of these frames.
    item = next(each.clip() for each in run.triplets.distinct_videos())
    identity = run.triplets.preparer.cache
    other = feature_cache_of(run.trainer.alignment, run.base["revision"], tmp_path / "cache")
    assert identity.key(item) != other.key(item)


@pytest.mark.slow
def test_an_adapter_goes_on_with_the_recipes_prompt_and_attention(prepared, world, tmp_path):
    trainer = make_trainer(world.model, tmp_path / "first", small_rows(2))
    trainer.save_model()
    run = prepared(
        model=str(tmp_path / "first"), prompt="video-llava-eval", attention="eager", lora_r=4, lora_alpha=4
    )
    alignment = run.trainer.alignment
    assert alignment.prompt.name == run.base["prompt"] == "video-llava-eval"
    assert alignment.family.language_model.config._attn_implementation == "eager"
    assert run.triplets.preparer.prompt.name == "video-llava-eval"


def test_which_file_is_which_real_video(prepared, world, tmp_path):
    """`real_mapping`: the videos lie under names that say nothing."""
    from synvita_data import load_triplets

    rows = load_triplets(str(world.dataset), split="train[:4]", real_root=world.real)
    (tmp_path / "elsewhere").mkdir()
    lines = ["videopath,file"]
    for number, (path, cell) in enumerate(zip(rows["videopath"], rows["real_video"], strict=True)):
        name = f"{number}.mp4"
        (tmp_path / "elsewhere" / name).write_bytes(Path(cell["path"]).read_bytes())
        lines.append(f"{path},{name}")
    mapping = tmp_path / "mapping.csv"
    mapping.write_text("\n".join(lines) + "\n")
    without = prepared(real_root=str(tmp_path / "elsewhere"))
    assert without.triplets.counts["takes_real"] == 0
    run = prepared(real_root=str(tmp_path / "elsewhere"), real_mapping=str(mapping))
    assert run.triplets.counts["takes_real"] == 4


def test_the_card_of_a_whole_model_is_not_an_adapters(prepared, tmp_path):
    from synvita_data.training.run import train

    run = prepared(dry_run=False, tune="language-model", split="train[:2]", per_device_train_batch_size=2)
    train(run, lambda line: None)
    head = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---")[1])
    assert head["library_name"] == "transformers"
    assert "lora" not in head["tags"]


@pytest.mark.slow
def test_what_is_published_privately_and_whole(loopback_hub, tmp_path):
    """`push_private` of a recipe, a token of one's own, and the card of a whole model."""
    owner = loopback_hub.add_user("someone")
    out = tmp_path / "out"
    out.mkdir()
    record = {
        "recipe": {"name": "r", "changed": [], "model": "m", "data": "d"},
        "model": {
            "name": "LanguageBind/Video-LLaVA-7B-hf",
            "family": "video_llava",
            "prompt": "p",
            "frames": "8",
        },
        "data": {"path": "d", "build": None, "counts": {"rows": 4}},
        "processes": 1,
        "summary": {},
        "evaluations": [],
        "versions": {},
    }
    (out / "training_run.json").write_text(json.dumps(record))
    (out / "model.safetensors").write_bytes(b"weights")
    script = """
        import sys
        from synvita_data.training.run import finish
        from synvita_data.training.publish import push_model
        from synvita_data.training.recipe import Recipe, RunOptions
        from pathlib import Path
        folder, token = Path(sys.argv[1]), sys.argv[2]
        options = RunOptions(model="m", data="d", push_to="someone/hidden", push_private=True)
        finish(Recipe("r", options, {"output_dir": str(folder)}), lambda line: None)
        import os
        del os.environ["HF_TOKEN"]
        push_model(folder, "someone/with-a-token", token=token)
    """
    done = run_client(script, loopback_hub, str(out), owner.token, home=tmp_path, token=owner.token)
    assert done.returncode == 0, done.stderr
    assert loopback_hub.repos["model", "someone/hidden"].private is True
    assert loopback_hub.repos["model", "someone/with-a-token"].private is False
    tree = loopback_hub.repos["model", "someone/hidden"].resolve("main").tree
    head = yaml.safe_load(tree["README.md"].content.decode().split("---")[1])
    assert head["library_name"] == "transformers"


def test_rows_of_a_benchmark_are_refused(prepared, world, tmp_path):
    """`benchmarks`: annotations whose pairs must not be trained on, of a task of the user's own."""
    import csv

    from synvita_data.dataset.load import load_triplets

    row = load_triplets(world.dataset, split="train")[2]
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    declared = "name: mine\nform: entailment\nfiles: [pairs.csv]\ntrain: {}\n"
    (held_out / "mine.yaml").write_text(declared.format("never"))
    with (held_out / "pairs.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [["video", "caption", "contrast"], ["other.mp4", row["caption"], row["neg_caption"]]]
        )
    with pytest.raises(SynvitaError, match=r"row \d+: a row is of mine, which must not be trained on"):
        prepared(benchmarks=str(held_out))
    (held_out / "mine.yaml").write_text(declared.format("allowed"))
    with pytest.raises(SynvitaError, match="no benchmark that forbids training"):
        prepared(benchmarks=str(held_out))
