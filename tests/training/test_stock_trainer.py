"""`SynViTALoss` in a stock Trainer: its gradients are those of the paper's loss, pair by pair, however a step is cut."""

import re

import pytest
import torch
from stock_pairs import (
    adapted,
    difference,
    gradients,
    reference_loss,
    rows,
    trained_gradients,
    training_arguments,
    triplets_of,
)

from synvita_data.errors import SynvitaError
from synvita_data.training.stock.collator import StockCollator
from synvita_data.training.stock.loss import SynViTALoss

# Video-LLaVA's forward takes loss arguments, Qwen2.5-VL's does not: a Trainer scales their losses differently.
FAMILIES = ("video_llava", "qwen2_5_vl")
OTHERS = ("llava_onevision", "qwen3_vl")  # which take them, and do not
ROWS = rows(8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from synvita_data.testing import make_tiny

    made = {}

    def get(family):
        if family not in made:
            made[family] = adapted(make_tiny(family, tmp_path_factory.mktemp(family)))
        return made[family]

    return get


def expected_of(model, processor, family, data, answer_loss="two-way", lam=1.0, margin=0.2):
    """(gradients, loss) pair by pair."""
    model.train()
    model.zero_grad(set_to_none=True)
    loss = reference_loss(model.get_base_model(), processor, family, data, answer_loss, lam, margin)
    loss.backward()
    return gradients(model), loss.item()


@pytest.mark.parametrize(
    "family", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_a_step_cut_in_any_way_has_the_gradients_of_the_papers_loss(models, family, tmp_path):
    model, processor = models(family)
    reference, loss = expected_of(model, processor, family, ROWS)
    collator = StockCollator(model, processor)
    data = triplets_of(ROWS, collator)
    # All at once; one by one; ragged, the last batch smaller.
    for batch, accumulation in ((8, 1), (1, 8), (3, 3)):
        found, logged = trained_gradients(
            model, data, collator, SynViTALoss(), tmp_path, batch=batch, accumulation=accumulation
        )
        assert difference(found, reference) < 1e-5, (batch, accumulation)
        assert logged == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("family", "answer_loss"),
    [
        ("video_llava", "token-and-end"),
        pytest.param("video_llava", "token", marks=pytest.mark.slow),
        pytest.param("qwen2_5_vl", "token-and-end", marks=pytest.mark.slow),
    ],
)
def test_losses_of_tokens(models, family, answer_loss, tmp_path):
    model, processor = models(family)
    few = ROWS[:3]
    reference, loss = expected_of(model, processor, family, few, answer_loss)
    for keep in (True, False):
        collator = StockCollator(model, processor, answer_loss=answer_loss, logits_to_keep=keep)
        found, logged = trained_gradients(
            model,
            triplets_of(few, collator),
            collator,
            SynViTALoss(answer_loss=answer_loss),
            tmp_path,
            batch=2,
            accumulation=2,
        )
        assert difference(found, reference) < 1e-5
        assert logged == pytest.approx(loss, rel=1e-5)


# The paper's two λ, and margins on both sides of its own.
@pytest.mark.parametrize(("margin", "scr_weight"), [(0.5, 0.01), (0.05, 1.0), (0.9, 2.5)])
def test_margin_and_weight_of_l_scr_are_those_of_the_loss(models, tmp_path, margin, scr_weight):
    model, processor = models("video_llava")
    few = ROWS[:4]
    reference, loss = expected_of(model, processor, "video_llava", few, lam=scr_weight, margin=margin)
    collator = StockCollator(model, processor)
    own = SynViTALoss(margin=margin, scr_weight=scr_weight)
    found, logged = trained_gradients(
        model, triplets_of(few, collator), collator, own, tmp_path, batch=2, accumulation=2
    )
    assert difference(found, reference) < 1e-5
    assert logged == pytest.approx(loss, rel=1e-5)


def test_without_regularisation_no_masked_text_is_scored(models, tmp_path):
    model, processor = models("video_llava")
    few = ROWS[2:6]
    reference, loss = expected_of(model, processor, "video_llava", few, lam=0.0)
    collator = StockCollator(model, processor, consistency=False)
    data = triplets_of(few, collator)
    # Two texts of each video that takes its L_real, or has a weight.
    assert len(collator(data)["input_ids"]) == 2 * (2 + 3)
    found, logged = trained_gradients(
        model, data, collator, SynViTALoss(scr_weight=0.0), tmp_path, batch=4, accumulation=1
    )
    assert difference(found, reference) < 1e-5
    assert logged == pytest.approx(loss, rel=1e-5)
    with pytest.raises(SynvitaError, match=r"another loss.*consistency=False.*scr_weight is 1"):
        trained_gradients(model, data, collator, SynViTALoss(), tmp_path, batch=8, accumulation=1)
    other = SynViTALoss(scr_weight=0.0, answer_loss="token-and-end")
    with pytest.raises(SynvitaError, match=r"another loss.*answers not appended"):
        trained_gradients(model, data, collator, other, tmp_path, batch=8, accumulation=1)


def stock_trainer(model, collator, loss, folder, data=None, **changes):
    from transformers import Trainer

    return Trainer(
        model,
        training_arguments(folder, **changes),
        train_dataset=data,
        eval_dataset=data,
        data_collator=collator,
        compute_loss_func=loss,
        callbacks=[loss],
    )


def test_evaluation_is_the_mean_over_triplets(models, tmp_path):
    model, processor = models("video_llava")
    few = ROWS[:4]
    with torch.no_grad():
        loss = reference_loss(model.get_base_model(), processor, "video_llava", few, "two-way", 1.0).item()
    collator = StockCollator(model, processor)
    trainer = stock_trainer(
        model,
        collator,
        SynViTALoss(),
        tmp_path,
        triplets_of(few, collator),
        per_device_eval_batch_size=3,
        prediction_loss_only=True,
    )
    assert trainer.evaluate()["eval_loss"] == pytest.approx(loss, rel=1e-5)


def test_a_releases_evaluation_without_a_count_takes_the_batchs_own(models):
    """transformers 5.17 gives no count in evaluation."""
    model, processor = models("video_llava")
    collator = StockCollator(model, processor)
    batch = collator(triplets_of(ROWS[:3], collator))
    labels = batch.pop("labels")
    with torch.no_grad():
        outputs = model(**batch)
        expected = reference_loss(model.get_base_model(), processor, "video_llava", ROWS[:3], "two-way", 1.0)
    assert SynViTALoss()(outputs, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    assert SynViTALoss()(outputs.to_tuple(), labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_wrong_arguments_are_refused_when_the_trainer_is_made(models, tmp_path):
    model, processor = models("video_llava")
    collator = StockCollator(model, processor)
    with pytest.raises(SynvitaError, match="remove_unused_columns=True"):
        stock_trainer(model, collator, SynViTALoss(), tmp_path, remove_unused_columns=True)
    for wrong in ({"label_smoothing_factor": 0.1}, {"train_sampling_strategy": "group_by_length"}):
        with pytest.raises(SynvitaError, match="{}={}. Set it to".format(*next(iter(wrong.items())))):
            stock_trainer(model, collator, SynViTALoss(), tmp_path, **wrong)
    loss = SynViTALoss()
    alone = training_arguments(tmp_path)
    with pytest.raises(SynvitaError, match="DataParallel"):
        loss.on_init_end(alone, None, None, model=torch.nn.DataParallel(torch.nn.Linear(1, 1)))
    with pytest.raises(SynvitaError, match=r"`released`"):
        SynViTALoss(normalisation="released")
    with pytest.raises(SynvitaError, match="out of range"):
        SynViTALoss(margin=-0.1)
    with pytest.raises(SynvitaError, match="unknown answer_loss"):
        SynViTALoss(answer_loss="mse")


def test_wrong_batches_are_refused_before_the_first_step(models):
    model, processor = models("video_llava")
    collator = StockCollator(model, processor)
    batch = collator(triplets_of(ROWS[:2], collator))
    labels = batch.pop("labels")
    with torch.no_grad():
        outputs = model(**batch)
    loss = SynViTALoss()
    for foreign in (None, batch["input_ids"], labels[:, 1:], labels + 1, labels[:0], labels.float()):
        with pytest.raises(SynvitaError, match="not made by StockCollator"):
            loss(outputs, foreign, 1)
    with pytest.raises(SynvitaError, match=r"multiple of 34"):
        loss(outputs, labels, 69)
    # One number a GPU is what a Trainer with nn.DataParallel passes.
    with pytest.raises(SynvitaError, match="DataParallel"):
        loss(outputs, labels, torch.tensor([[68.0], [68.0]]))
    with pytest.raises(SynvitaError, match="not those of the batch"):
        loss({"logits": outputs.logits[:-1]}, labels, 68)
    with pytest.raises(SynvitaError, match="no logits"):
        loss({"logits": None}, labels, 68)


def test_the_lines_of_the_documentation_train(repo_root, tmp_path, monkeypatch):
    """Every Python block of README and guides that shows `SynViTALoss` runs as it stands, on a tiny model.

    The README's takes a model, its processor, the Trainer's arguments and the rows of the block before as given.
    """
    from small_triplets import dataset, row
    from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments

    import synvita_data.dataset.load
    from synvita_data.testing import make_tiny

    guides = [repo_root / "README.md", *sorted((repo_root / "docs").glob("training*.md"))]
    blocks = [
        block
        for guide in guides
        for block in re.findall(r"```python\n(.*?)```", guide.read_text(), flags=re.DOTALL)
        if "compute_loss_func=" in block
    ]
    assert blocks
    folder = make_tiny("video_llava", tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    built = dataset([row(video) for video in range(3)], tmp_path)
    monkeypatch.setattr(synvita_data.dataset.load, "load_triplets", lambda *args, **kwargs: built)
    for block in blocks:
        code = block.replace("LanguageBind/Video-LLaVA-7B-hf", str(folder))
        model, processor = (
            kind.from_pretrained(folder) for kind in (AutoModelForImageTextToText, AutoProcessor)
        )
        arguments = TrainingArguments(
            "out/given", remove_unused_columns=False, per_device_train_batch_size=1, report_to=[]
        )
        names = {"model": model, "processor": processor, "arguments": arguments, "rows": built}
        exec(compile(code, "documentation", "exec"), names)
        state = names["trainer"].state
        assert state.global_step >= 1
        assert all(torch.isfinite(torch.tensor(log["loss"])) for log in state.log_history if "loss" in log)


@pytest.mark.slow
def test_mplug_owl(tmp_path):
    """A family with a model class of its own and prompts tokenised in pieces, against its alignment model."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import synvita_data.models.mplug_owl  # noqa: F401  (makes the classes known)
    from synvita_data.models import AlignmentModel
    from synvita_data.testing import make_tiny

    folder = make_tiny("mplug-owl", tmp_path / "owl")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    collator = StockCollator(model, processor)
    triplets = triplets_of(ROWS[:2], collator)
    batch = collator(triplets)
    labels = batch.pop("labels")
    with torch.no_grad():
        found = SynViTALoss()(model(**batch), labels, None).item()
        alignment = AlignmentModel(model, processor)
        total = 0.0
        for triplet in triplets:
            sides = [triplet.real, triplet.synthetic]
            m = alignment(sides, [triplet.texts] * 2, strategy="plain").log_odds.double().view(2, 4)
            f = m.sigmoid()
            real = -(f[0, 0].log() + (1 - f[0, 1]).log())
            synthetic = -(f[1, 1].log() + (1 - f[1, 0]).log())
            scr = sum((0.2 + f[z, 2 + z] - f[z, z]).relu() for z in (0, 1))
            scr = scr + sum((0.2 + f[z, 1 - z] - f[z, 3 - z]).relu() for z in (0, 1))
            total += (real + triplet.weight * (synthetic + scr)).item()
    assert found == pytest.approx(total / 2, rel=1e-5)
