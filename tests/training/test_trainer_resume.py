"""A run that is stopped, by whatever, goes on as if nothing had happened: the same losses to the bit, the same weights."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from forked import run_forked
from small_trainer import load, make_trainer, small_rows
from transformers import TrainerCallback

from synvita_data.errors import SynvitaError
from synvita_data.training import PackedCollator, SynViTATrainer

# Two epochs of 3 steps: resuming meets the middle of an epoch, its end, and another order of triplets.
SETTINGS = {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "lora_dropout": 0.3,
    "learning_rate": 1e-2,
    "train_sampling_strategy": "random",
    "warmup_steps": 2,
}
ROWS = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


class Recording(PackedCollator):
    """Remembers which rows came, in their order."""

    def __init__(self):
        self.rows = []

    def __call__(self, triplets):
        self.rows += [triplet.row_id for triplet in triplets]
        return super().__call__(triplets)


def run(checkpoint, folder, resume=None, **changes):
    trainer = make_trainer(checkpoint, folder, small_rows(ROWS), **{**SETTINGS, **changes})
    trainer.data_collator = Recording()
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.fixture(scope="module")
def whole(checkpoint, tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = run(checkpoint, folder)
    assert trainer.state.global_step == 6
    return trainer


def curve(trainer):
    return [
        {key: value for key, value in entry.items() if "runtime" not in key and "per_second" not in key}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def assert_same(resumed, whole):
    assert curve(resumed) == curve(whole)  # to the bit
    assert len(curve(whole)) == 6
    for (name, mine), (_, theirs) in zip(
        resumed.module.named_parameters(), whole.module.named_parameters(), strict=True
    ):
        assert torch.equal(mine, theirs), name


@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_resumed_from_a_checkpoint(checkpoint, whole, tmp_path, step):
    resumed = run(checkpoint, tmp_path, f"{whole.args.output_dir}/checkpoint-{step}")
    assert_same(resumed, whole)
    assert (
        resumed.data_collator.rows == whole.data_collator.rows[2 * step :]
    )  # what was trained is not read again


def test_each_epoch_has_an_order_of_its_own(whole):
    rows = whole.data_collator.rows
    first, second = rows[:ROWS], rows[ROWS:]
    assert sorted(first) == sorted(second) == [f"row{n}" for n in range(ROWS)]
    assert first != second
    assert len({entry["loss"] for entry in curve(whole)}) == 6


def test_from_a_checkpoint_of_the_last_step_no_step_is_taken(checkpoint, whole, tmp_path):
    """A run that was killed after it in the middle of an epoch, where the stock Trainer takes one step more."""
    (tmp_path / ".unfinished" / "checkpoint-4").mkdir(parents=True)
    last = f"{whole.args.output_dir}/checkpoint-4"
    resumed = run(checkpoint, tmp_path, last, max_steps=4)
    assert resumed.state.global_step == 4
    assert resumed.data_collator.rows == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == []
    resumed.save_model()
    name = "adapter_model.safetensors"
    assert (tmp_path / name).read_bytes() == (Path(last) / name).read_bytes()


class KillAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_substep_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class DiesWhileSaving(SynViTATrainer):
    """Killed in the middle of its fourth checkpoint: model and optimizer are written, the rest is not."""

    def _save_rng_state(self, output_dir):
        if self.state.global_step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._save_rng_state(output_dir)


@pytest.mark.slow
def test_resumed_after_sigkill_in_a_window(checkpoint, whole, tmp_path):
    def killed():
        trainer = make_trainer(checkpoint, tmp_path, small_rows(ROWS), **SETTINGS)
        trainer.add_callback(KillAfter(4))  # after the first of two batches of step 5
        trainer.train()

    assert run_forked(killed) == -signal.SIGKILL
    assert_same(run(checkpoint, tmp_path, True), whole)


def test_resumed_after_sigkill_in_a_checkpoint(checkpoint, whole, tmp_path):
    from small_trainer import arguments, randomise, triplets_of

    def killed():
        model, processor = load(checkpoint)
        data = triplets_of(small_rows(ROWS), model, processor)
        trainer = DiesWhileSaving(model, processor, arguments(tmp_path, **SETTINGS), data)
        randomise(trainer)
        trainer.train()

    assert run_forked(killed) == -signal.SIGKILL
    assert (tmp_path / ".unfinished" / "checkpoint-4").is_dir()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        f"checkpoint-{n}" for n in (1, 2, 3)
    ]
    resumed = run(checkpoint, tmp_path, True)
    assert_same(resumed, whole)
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.slow
def test_a_full_fine_tune_resumes(checkpoint, tmp_path):
    settings = {"tune": "language-model", "learning_rate": 1e-3}
    whole = run(checkpoint, tmp_path / "whole", **settings)
    resumed = run(checkpoint, tmp_path / "resumed", f"{tmp_path}/whole/checkpoint-4", **settings)
    assert_same(resumed, whole)


@pytest.mark.slow
def test_old_checkpoints_go_and_the_best_stays(checkpoint, tmp_path):
    from small_trainer import arguments, triplets_of

    model, processor = load(checkpoint)
    data = triplets_of(small_rows(4), model, processor)
    settings = SETTINGS | {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 3,
        "save_total_limit": 2,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "metric_for_best_model": "loss/real",
        "greater_is_better": True,  # the first is best as long as training works
        "load_best_model_at_end": True,
    }
    trainer = SynViTATrainer(model, processor, arguments(tmp_path, **settings), data, data)
    trainer.train()
    measured = {e["step"]: e["eval_loss/real"] for e in trainer.state.log_history if "eval_loss" in e}
    best = max(measured, key=measured.get)
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{best}")
    kept = {int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*")}
    assert kept == {best, 6} | ({5} if best == 6 else set())
    assert trainer.evaluate()["eval_loss/real"] == pytest.approx(measured[best], rel=1e-6)


def test_a_checkpoint_that_is_not_whole_is_refused(checkpoint, whole, tmp_path):
    trainer = make_trainer(checkpoint, tmp_path, small_rows(ROWS), **SETTINGS)
    good = Path(whole.args.output_dir) / "checkpoint-3"
    folder = tmp_path / "checkpoint-3"

    def refused(*words):
        with pytest.raises(SynvitaError) as error:
            trainer.train(resume_from_checkpoint=str(folder))
        assert all(word in str(error.value) for word in words), str(error.value)
        assert not (tmp_path / "checkpoint-4").exists()  # no step was taken

    refused("no checkpoint", "checkpoint-3")
    for name in ("optimizer.pt", "scheduler.pt", "trainer_state.json"):
        shutil.copytree(good, folder)
        (folder / name).unlink()
        refused("cannot resume", f"no {name}", "save_only_model")
        shutil.rmtree(folder)
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "adapter_model.safetensors",
    ):
        content = (good / name).read_bytes()
        for left in (content[: len(content) // 2], b""):
            shutil.copytree(good, folder)
            (folder / name).write_bytes(left)
            refused("cannot be read", name)
            shutil.rmtree(folder)
    shutil.copytree(good, folder)
    (folder / "trainer_state.json").write_text("[]")
    refused("cannot be read", "trainer_state.json")
    torch.save({"state": {}, "param_groups": []}, folder / "optimizer.pt")  # whole, and of another model
    shutil.copy(good / "trainer_state.json", folder)
    refused("cannot be read", "checkpoint-3", "parameter group")
