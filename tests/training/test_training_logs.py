"""Sums for logs: exact over many batches, and fp64 on the CPU alone."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from no_fp64 import NoFp64, OnDevice, on_device
from small_trainer import make_trainer, small_rows, step_gradients, triplets_of

import synvita_data
from synvita_data.training.data import TEXTS, VIDEOS
from synvita_data.training.evaluation import TrainingLogs
from synvita_data.training.objective import Terms, pair_sums

ROOT = Path(synvita_data.__file__).resolve().parents[1]
NAMES = [f"f/{video}/{text}" for video in VIDEOS for text in TEXTS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("batches", [0, 1, 3, 255, 256, 257, 700])
def test_the_sums_of_many_batches_are_those_of_fp64(batches):
    generator = torch.Generator().manual_seed(batches)
    logs, steps = TrainingLogs(), 4
    terms = torch.rand(batches, 4, generator=generator)
    odds = torch.randn(batches, 3, 2, 4, generator=generator) * 4
    scored = torch.rand(batches, 3, 2, 4, generator=generator) < 0.7
    for own, log_odds, there in zip(terms, odds, scored, strict=True):
        logs.add([], Terms(*own), log_odds, there)
    found = logs.take(lambda values: 3 * values, steps)  # as if each of three processes had these
    expected = 3 * terms.double().sum(0) / steps
    assert [found[f"loss/{each.name}"] for each in fields(Terms)] == pytest.approx(
        expected.tolist(), rel=1e-7
    )
    total = torch.where(scored, odds.double().sigmoid(), 0.0).sum((0, 1)).flatten()
    means = total / scored.sum((0, 1)).flatten()
    seen = {name: found[name] for name in NAMES if name in found}
    assert seen == pytest.approx(dict(zip(NAMES, means.tolist(), strict=True)) if batches else {}, rel=1e-6)
    # What was taken is gone.
    again = logs.take(lambda values: values, 1)
    assert not any(again.values())
    assert not any(name.startswith("f/") for name in again)


def test_a_batch_stays_on_its_device_until_the_logs(monkeypatch):
    """No waiting for the device at each step: numbers leave it once a line, or every 256 batches."""
    left = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (left.append(1), self.clone())[1])
    logs = TrainingLogs()
    for _ in range(255):
        logs.add([], Terms(*torch.ones(4)), torch.zeros(2, 2, 4), torch.ones(2, 2, 4, dtype=torch.bool))
    assert not left
    logs.take(lambda values: values, 1)
    assert len(left) == 1


def test_the_device_of_these_tests_has_no_fp64():
    """The double does what a device without fp64 does."""
    value = on_device(torch.ones(2))
    with NoFp64():
        assert isinstance(value + 1, OnDevice)
        assert value.cpu().double().dtype == torch.float64
        for wrong in (
            value.double,
            lambda: (value * 2).to(torch.float64),
            lambda: torch.zeros(2, dtype=torch.float64, device=torch.device("cpu")),
            lambda: torch.zeros(2).double().to(torch.device("cpu")),
        ):
            with pytest.raises(TypeError, match="no float64"):
                wrong()


@pytest.mark.parametrize("answer_loss", ["two-way", "token-and-end"])
def test_training_and_evaluation_make_no_fp64_on_the_device(checkpoint, tmp_path, monkeypatch, answer_loss):
    """All that the objective, the logs and the evaluation compute from a model's scores, on a device without fp64."""
    data = small_rows(5)
    names = {"answer_loss": answer_loss, "normalisation": "released", "per_device_train_batch_size": 2}
    names |= {"gradient_accumulation_steps": 2, "per_device_eval_batch_size": 2}
    reference = make_trainer(checkpoint, tmp_path / "a", data, **names)
    held_out = triplets_of(small_rows(4), reference.module.alignment.model, reference.processing_class)
    wanted = reference.evaluate(held_out)
    _, wanted_losses = step_gradients(reference)

    trainer = make_trainer(checkpoint, tmp_path / "b", data, **names)
    forward, number = trainer.module.forward, []

    def there(**inputs):
        output = forward(**inputs)
        number.append(1)
        moved = {
            each.name: on_device(getattr(output, each.name))
            for each in fields(output)
            if isinstance(getattr(output, each.name), torch.Tensor)
        }
        supervision = output.supervision
        own = {each.name: on_device(getattr(supervision, each.name)) for each in fields(supervision)}
        return replace(output, **moved, supervision=replace(supervision, **own))

    monkeypatch.setattr(trainer.module, "forward", there)
    with NoFp64():
        measures = trainer.evaluate(held_out)
    compute, logged = trainer.compute_loss, trainer.log

    def computed(*args, **kwargs):
        with NoFp64():
            loss = compute(*args, **kwargs)
        return loss.as_subclass(torch.Tensor)

    def log(*args, **kwargs):
        with NoFp64():
            return logged(*args, **kwargs)

    monkeypatch.setattr(trainer, "compute_loss", computed)
    monkeypatch.setattr(trainer, "log", log)
    _, losses = step_gradients(trainer)
    assert len(number) == 2 + 3
    assert losses == pytest.approx(wanted_losses, rel=1e-6)
    shared = [key for key in wanted if key.startswith(("eval_loss", "eval_f/", "eval_auc"))]
    assert len(shared) == 1 + 4 + 8 + 1
    for key in shared:
        assert measures[key] == pytest.approx(wanted[key], rel=1e-6)
    lines = [[e for e in t.state.log_history if "loss/real" in e] for t in (reference, trainer)]
    assert len(lines[0]) == 2
    for one, two in zip(*lines, strict=True):
        for key in one:
            if key.startswith(("loss", "f/", "rows")):
                assert two[key] == pytest.approx(one[key], rel=1e-6), key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_pair_sums_are_fp32_unless_the_scores_are_finer(dtype):
    odds = torch.tensor([[[0.5, -1.0, 2.0, 0.0]] * 2]).to(dtype)
    sums = pair_sums(odds, torch.ones(1, 2, 4, dtype=torch.bool))
    assert sums.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(sums[0].double(), odds[0].double().sigmoid(), rtol=1e-6)


def _fp64(tree: ast.AST) -> list[int]:
    """Lines that make a torch tensor fp64 where it is: `.double()` not right behind `.cpu()`, and `torch.float64` or
    `torch.double` beside a `device=`."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr == "double":
            inner = called.value
            behind = (
                isinstance(inner, ast.Call)
                and isinstance(inner.func, ast.Attribute)
                and inner.func.attr == "cpu"
            )
            if not behind:
                lines.append(node.lineno)
        names = [*node.args, *(keyword.value for keyword in node.keywords)]
        wide = any(ast.unparse(name) in ("torch.float64", "torch.double") for name in names)
        placed = any(keyword.arg == "device" for keyword in node.keywords) or (
            isinstance(called, ast.Attribute) and called.attr in ("to", "type")
        )
        if wide and placed:
            lines.append(node.lineno)
    return lines


def test_no_code_makes_a_tensor_fp64_on_its_device():
    for wrong in ("x.double()", "x.to(d, torch.float64)", "torch.zeros(2, dtype=torch.double, device=d)"):
        assert _fp64(ast.parse(wrong)) == [1]
    for right in ("x.cpu().double()", "torch.zeros(2, dtype=torch.float64)"):
        assert _fp64(ast.parse(right)) == []
    found, files = [], 0
    for folder in ("synvita_data", "builders", "training"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            files += 1
            lines = _fp64(ast.parse(path.read_text(encoding="utf-8")))
            found += [f"{path.relative_to(ROOT)}:{line}" for line in lines]
    assert files > 100
    assert found == []
