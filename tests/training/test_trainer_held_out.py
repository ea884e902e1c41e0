"""Measures of held-out data: the AUC by brute force, the loss by the training step's own sums."""

import pytest
import torch
from small_trainer import arguments, load, make_trainer, small_rows, step_gradients, triplets_of
from transformers import TrainerCallback

from synvita_data.training import SynViTATrainer
from synvita_data.training.evaluation import EvaluationItem


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


def pairs_of(triplets):
    """As `EvaluationPairs` gives them: real and synthetic videos, one of them unreadable."""
    items = []
    for t in triplets:
        for kind, labels in (("real", (True, False)), ("synthetic", (False, True))):
            if getattr(t, kind) is not None:
                items.append(EvaluationItem(t.row_id, kind, getattr(t, kind), t.texts[:2], labels))
    return [*items, EvaluationItem("gone", "real", None, triplets[0].texts[:2], (True, False))]


def brute_force(alignment, items):
    """(AUC, paired accuracy) in percent from plain scores, comparison by comparison."""
    alignment.eval()
    true, false, own = [], [], []
    with torch.no_grad():
        for item in items:
            if item.video is None:
                continue
            scores = alignment([item.video], [item.texts], strategy="plain").log_odds.tolist()
            yes, no = scores if item.labels[0] else reversed(scores)
            true.append(yes)
            false.append(no)
            own.append(yes > no)
    wins = [(y > n) + 0.5 * (y == n) for y in true for n in false]
    return 100 * sum(wins) / len(wins), 100 * sum(own) / len(own)


def test_auc_is_brute_forces(checkpoint, tmp_path):
    model, processor = load(checkpoint)
    triplets = triplets_of(small_rows(8), model, processor)
    items = pairs_of(triplets)
    config = arguments(
        tmp_path, eval_strategy="steps", eval_steps=1, learning_rate=1e-2, per_device_train_batch_size=4,
        per_device_eval_batch_size=3,
    )  # fmt: skip
    seen = []

    class Compare(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            seen.append((metrics, brute_force(trainer.alignment, items)))

    trainer = SynViTATrainer(
        model, processor, config, triplets, {"pairs": items, "triplets": triplets}, callbacks=[Compare()]
    )
    trainer.train()
    pairs = [(m, f) for m, f in seen if "eval_pairs_auc" in m]
    assert len(pairs) == 2
    for metrics, (auc, paired) in pairs:
        assert metrics["eval_pairs_auc"] == pytest.approx(auc)
        assert metrics["eval_pairs_paired_accuracy"] == pytest.approx(paired)
        assert metrics["eval_pairs_texts"] == 2 * (len(items) - 1)
    assert pairs[0][0]["eval_pairs_auc"] != pairs[1][0]["eval_pairs_auc"]
    assert trainer.module.training  # training went on in training mode
    of_triplets = [m for m, _ in seen if "eval_triplets_loss" in m]
    once = [item for item in pairs_of([t for t in triplets if t.takes_real]) if item.kind == "real"]
    auc, _ = brute_force(trainer.alignment, once)
    assert of_triplets[-1]["eval_triplets_auc"] == pytest.approx(auc)
    logged = [entry for entry in trainer.state.log_history if "eval_pairs_auc" in entry]
    assert [entry["step"] for entry in logged] == [1, 2]


@pytest.mark.parametrize("normalisation", ["paper", "released"])
def test_the_loss_is_that_of_one_step_over_all(checkpoint, tmp_path, normalisation):
    data = small_rows(7)
    trainer = make_trainer(
        checkpoint, tmp_path, data, normalisation=normalisation, answer_loss="token-and-end",
        per_device_eval_batch_size=3, scr_weight=0.35, nle_weight=0.6, margin=0.4,
    )  # fmt: skip
    measures = trainer.evaluate(trainer.train_dataset)
    _, (loss,) = step_gradients(trainer)
    assert measures["eval_loss"] == pytest.approx(loss, rel=1e-5)
    logged = trainer.state.log_history[-2]
    shared = [key for key in logged if key.startswith(("loss/", "f/"))]
    assert len(shared) == 12
    for key in shared:
        assert measures[f"eval_{key}"] == pytest.approx(logged[key], rel=1e-5)
    # Eq. 7 of the terms, with the weights of these arguments.
    terms = {
        name: measures[f"eval_loss/{name}"] for name in ("real", "synthetic", "consistency", "explanation")
    }
    assert min(terms.values()) > 0.01
    total = terms["real"] + terms["synthetic"] + 0.35 * terms["consistency"] + 0.6 * terms["explanation"]
    assert measures["eval_loss"] == pytest.approx(total, rel=1e-5)


def test_bf16(checkpoint, tmp_path):
    """Autocast: scores come out in fp32, close to those of fp32, and training goes on with finite gradients."""
    data = small_rows(4)
    reference = make_trainer(checkpoint, tmp_path, data)
    expected = reference.module(triplets=reference.train_dataset)
    trainer = make_trainer(checkpoint, tmp_path, data, bf16=True, answer_loss="token-and-end")
    (found,), (loss,) = step_gradients(trainer)
    assert all(value.isfinite().all() for value in found.values())
    with trainer.accelerator.autocast():
        scores = trainer.module(triplets=trainer.train_dataset)
    for value in (scores.log_odds, scores.answer_losses, scores.explanation_loss):
        assert value.dtype == torch.float32
    assert (scores.log_odds - expected.log_odds).abs().max() < 0.05
    assert not torch.equal(scores.log_odds, expected.log_odds)
    assert 0 < loss < 100
