"""What training leaves on disk scores as the trained model did, by itself, merged, and under `synvita evaluate`."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from small_trainer import arguments, load, make_trainer, randomise, small_rows, triplets_of

from synvita_data.errors import StoreError, SynvitaError
from synvita_data.models.loading import load_alignment_model
from synvita_data.models.resolve import find_checkpoint
from synvita_data.training import SynViTATrainer, merge_adapter


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    trainer = make_trainer(
        checkpoint,
        folder,
        small_rows(4),
        learning_rate=1e-2,
        per_device_train_batch_size=2,
        prompt="video-llava",
    )
    trainer.train()
    trainer.save_model()
    return trainer


def log_odds(alignment):
    row = small_rows(1)[0]
    alignment.eval()
    with torch.no_grad():
        return alignment([row["real"]], [row["texts"]]).log_odds


def test_an_adapter_knows_its_base(trained, checkpoint):
    folder = Path(trained.args.output_dir)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(Path(checkpoint).resolve())
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == (4, 4, 0.0)
    assert (folder / "processor_config.json").is_file()
    assert (folder / "tokenizer.json").is_file()
    assert json.loads((folder / "training_args.json").read_text())["scr_weight"] == 1.0
    assert not list(folder.glob(".part-*"))
    assert not list(folder.glob("*.bin"))  # no pickle
    model, revision = load_alignment_model(find_checkpoint(str(folder)), prompt="video-llava")
    assert "+" in revision
    assert torch.equal(log_odds(model), log_odds(trained.alignment))
    base, _ = load_alignment_model(find_checkpoint(str(checkpoint)), prompt="video-llava")
    assert (log_odds(base) - log_odds(model)).abs().max() > 1e-2


def test_merged(trained, tmp_path):
    out = merge_adapter(trained.args.output_dir, tmp_path / "merged")
    assert not list(tmp_path.glob(".part-*"))
    merged, _ = load_alignment_model(find_checkpoint(str(out)), prompt="video-llava")
    assert torch.allclose(log_odds(merged), log_odds(trained.alignment), atol=1e-5)
    with pytest.raises(SynvitaError, match="would replace"):
        merge_adapter(trained.args.output_dir, out)
    with pytest.raises(SynvitaError, match="nothing to merge"):
        merge_adapter(out, tmp_path / "twice")


def test_saving_again_replaces_and_keeps_what_is_not_ours(trained):
    folder = Path(trained.args.output_dir)
    (folder / "README.md").write_text("mine")
    before = (folder / "adapter_model.safetensors").read_bytes()
    trained.save_model()
    assert (folder / "README.md").read_text() == "mine"
    assert (folder / "adapter_model.safetensors").read_bytes() == before


def test_an_adapter_goes_on_being_trained(trained, checkpoint, tmp_path):
    from peft import PeftModel

    model, processor = load(checkpoint)
    frozen = PeftModel.from_pretrained(model, trained.args.output_dir)
    with pytest.raises(SynvitaError, match="is_trainable=True"):
        SynViTATrainer(frozen, processor, arguments(tmp_path))
    model, processor = load(checkpoint)
    network = PeftModel.from_pretrained(model, trained.args.output_dir, is_trainable=True)
    more = SynViTATrainer(
        network,
        processor,
        arguments(tmp_path, prompt="video-llava", learning_rate=1e-2),
        triplets_of(small_rows(2), network, processor),
    )
    assert torch.equal(log_odds(more.alignment), log_odds(trained.alignment))
    more.train()
    more.save_model()
    again, _ = load_alignment_model(find_checkpoint(str(tmp_path)), prompt="video-llava")
    assert torch.equal(log_odds(again), log_odds(more.alignment))
    assert (log_odds(again) - log_odds(trained.alignment)).abs().max() > 1e-3


def test_a_full_model(checkpoint, tmp_path):
    trainer = make_trainer(
        checkpoint, tmp_path, small_rows(2), tune="all", learning_rate=1e-3, optim="sgd", prompt="video-llava"
    )
    tower = {n: p.detach().clone() for n, p in trainer.module.named_parameters() if "video_tower" in n}
    trainer.train()
    assert any(not torch.equal(p, tower[n]) for n, p in trainer.module.named_parameters() if n in tower)
    trainer.save_model()
    assert not (tmp_path / "adapter_config.json").exists()
    model, _ = load_alignment_model(find_checkpoint(str(tmp_path)), prompt="video-llava")
    assert torch.equal(log_odds(model), log_odds(trainer.alignment))
    before = json.loads((Path(checkpoint) / "config.json").read_text())
    after = json.loads((tmp_path / "config.json").read_text())
    assert before.get("use_cache") == after.get("use_cache")  # the Trainer changes it in memory
    assert before["text_config"].items() <= after["text_config"].items()


def test_a_checkpoint_of_another_adapter_is_refused(trained, checkpoint, tmp_path):
    other = make_trainer(checkpoint, tmp_path, small_rows(2), lora_r=8)
    randomise(other)
    with pytest.raises(SynvitaError, match="lora_"):
        other._load_from_checkpoint(trained.args.output_dir)
    narrow = make_trainer(checkpoint, tmp_path, small_rows(2), lora_targets=r".*language_model.*\.q_proj")
    with pytest.raises(SynvitaError, match="other modules"):
        narrow._load_from_checkpoint(trained.args.output_dir)
    with pytest.raises(SynvitaError, match="cannot be read"):
        other._load_from_checkpoint(str(tmp_path / "nowhere"))


def test_an_adapters_own_settings_stay(trained, checkpoint, tmp_path):
    from peft import PeftModel

    from synvita_data.training import SynViTAConfig

    def going_on(**changes):
        model, processor = load(checkpoint)
        network = PeftModel.from_pretrained(model, trained.args.output_dir, is_trainable=True)
        config = SynViTAConfig(str(tmp_path), report_to="none", use_cpu=True, **changes)
        return SynViTATrainer(network, processor, config).args

    own = trained.alignment.family.lora_targets
    args = going_on()
    assert (args.lora_r, args.lora_alpha, args.lora_dropout, args.lora_targets) == (4, 4, 0.0, own)
    assert going_on(lora_r=4, lora_targets=f"(?:{own})").lora_targets == own
    for changes, words in (
        ({"lora_r": 8}, "lora_r=8.*lora_r=4"),
        ({"lora_alpha": 64, "lora_dropout": 0.5}, "lora_alpha=64, lora_dropout=0.5.*lora_alpha=4"),
        ({"lora_targets": r".*language_model.*\.q_proj"}, "q_proj.*merge"),
        ({"lora_targets": "("}, "regular expression"),
    ):
        with pytest.raises(SynvitaError, match=words):
            going_on(**changes)


def test_names_of_modules_as_targets(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    model, processor = load(checkpoint)
    network = get_peft_model(
        model, LoraConfig(r=32, lora_alpha=32, lora_dropout=0.05, target_modules=["q_proj"])
    )
    config = arguments(tmp_path, lora_r=32, lora_alpha=32, lora_dropout=0.05)
    SynViTATrainer(network, processor, config)
    adapted = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
    matched = {name for name, _ in model.named_modules() if re.fullmatch(config.lora_targets, name)}
    assert adapted == matched


@pytest.mark.parametrize("what", ["any file", "weights", "optimizer"])
def test_a_full_disk(checkpoint, tmp_path, what):
    """A limit on the size of files, which writers report as they do a full disk."""
    import resource

    trainer = make_trainer(checkpoint, tmp_path, small_rows(2), save_strategy="steps", save_steps=1)
    trainer.save_model()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    shutil.rmtree(tmp_path)
    limit = {"any file": 100, "weights": sizes["adapter_model.safetensors"] - 1}
    limit["optimizer"] = max(sizes.values()) + 1  # its state is larger than all that
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit[what], hard))
    try:
        with pytest.raises(StoreError, match="Make room") as error:
            trainer.train() if what == "optimizer" else trainer.save_model()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.file == str(tmp_path / "checkpoint-1" if what == "optimizer" else tmp_path)
    assert not list(tmp_path.iterdir())
