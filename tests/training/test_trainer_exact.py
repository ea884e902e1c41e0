"""A step's gradients are those of Eq. 7 over its triplets, however they are cut into batches and scored."""

from dataclasses import replace

import pytest
import torch
from small_trainer import load, make_trainer, small_rows, step_gradients, triplets_of
from stock_pairs import difference, gradients, reference_loss

from synvita_data.models import AlignmentModel, EncodedVideo, Explanation, PreparedVideo

FAMILIES = [
    "video_llava",  # its stock forward takes loss arguments
    pytest.param("llava_onevision", marks=pytest.mark.slow),  # so does this one's
    pytest.param("qwen2_5_vl", marks=pytest.mark.slow),  # and this one's does not
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    from synvita_data.testing import make_tiny

    made = {}

    def folder(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


def test_a_step_is_eq_7_by_the_stock_model(checkpoints, tmp_path):
    data = [{**row, "explanation": None} for row in small_rows(8)]
    trainer = make_trainer(
        checkpoints("video_llava"), tmp_path, data, scr_weight=0.7, margin=0.45, per_device_train_batch_size=3
    )
    network, processor = trainer.module.network, trainer.processing_class
    network.eval()
    expected = reference_loss(network.get_base_model(), processor, "video_llava", data, "two-way", 0.7, 0.45)
    expected.backward()
    wanted = gradients(trainer.module)
    trainer.module.zero_grad(set_to_none=True)
    trainer.args.gradient_accumulation_steps = 3  # 3, 3 and 2 triplets
    (found,), (loss,) = step_gradients(trainer)
    assert difference(found, wanted) < 1e-5
    assert loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("normalisation", "answer_loss"),
    [
        ("paper", "two-way"),
        ("released", "token-and-end"),
        pytest.param("released", "token", marks=pytest.mark.slow),
    ],
)
def test_cuts_and_ways_agree(checkpoints, tmp_path, family, normalisation, answer_loss):
    data = small_rows(8)
    names = {"normalisation": normalisation, "answer_loss": answer_loss, "nle_weight": 0.5}

    def step(**changes):
        trainer = make_trainer(checkpoints(family), tmp_path, data, **names, **changes)
        (found,), (loss,) = step_gradients(trainer)
        return found, loss

    whole, loss = step(per_device_train_batch_size=8)
    for changes in (
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 3},  # 3, 3 and 2
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "way": "plain"},
        {"gradient_checkpointing": True},
    ):
        other, its_loss = step(**changes)
        assert difference(other, whole) < 1e-5, changes
        assert its_loss == pytest.approx(loss, rel=1e-5)


def test_released_is_what_its_words_say(checkpoints, tmp_path):
    """Answers and explanations per supervised token, L_scr per half-triplet, counted here by hand."""
    data = small_rows(8)
    trainer = make_trainer(
        checkpoints("video_llava"),
        tmp_path,
        data,
        normalisation="released",
        nle_weight=0.3,
        scr_weight=0.6,
        margin=0.35,
    )
    (_,), (loss,) = step_gradients(trainer)
    logged = trainer.state.log_history[0]
    model, processor = load(checkpoints("video_llava"))
    alignment = AlignmentModel(model, processor).eval()
    alignment.load_state_dict(_merged(trainer))
    answers = halves = consistency = tokens = explained = 0.0
    pairs = 0
    for row, triplet in zip(data, triplets_of(data, model, processor), strict=True):
        for z, video in enumerate((triplet.real, triplet.synthetic)):
            has = video is not None or (z == 1 and row.get("zero_weight", False))
            if has and (z == 1 or row["takes_real"]):
                pairs += 2
            if has and (row["synthetic"] is not None or row.get("zero_weight")):
                halves += 1
            if video is None:
                continue
            with torch.no_grad():
                told = (
                    [Explanation(row["texts"][1].caption, row["explanation"])]
                    if z == 0 and row["explanation"]
                    else [None]
                )
                out = alignment([video], [row["texts"]], strategy="plain", explanations=told)
            m, f = out.log_odds.double(), out.log_odds.double().sigmoid()
            own, other = (0, 1) if z == 0 else (1, 0)
            if z == 1 or row["takes_real"]:
                weight = 1.0 if z == 0 else row["weight"]
                answers -= weight * float(f[own].log() + (1 - f[other]).log())
            consistency += row["weight"] * float(
                (0.35 + f[own + 2] - f[own]).clamp(min=0) + (0.35 + f[other] - f[other + 2]).clamp(min=0)
            )
            explained += float(out.explanation_loss.sum())
            tokens += out.explanation_tokens[0]
            assert m.isfinite().all()
    assert tokens > 0
    expected = (answers + 0.3 * explained) / (pairs + tokens) + 0.6 * consistency / halves
    assert loss == pytest.approx(expected, rel=1e-5)
    assert logged["loss/consistency"] == pytest.approx(consistency / halves, rel=1e-5)
    assert logged["loss/explanation"] == pytest.approx(explained / (pairs + tokens), rel=1e-5)


def _merged(trainer):
    """The trained weights under a stock model's names."""
    import copy

    merged = copy.deepcopy(trainer.module.network).merge_and_unload()
    return {f"model.{name}": value for name, value in merged.state_dict().items()}


@pytest.mark.parametrize("tune", ["lora", "language-model"])
def test_packed_and_plain_end_at_the_same_weights(checkpoints, tmp_path, tune):
    after = {}
    for way in ("packed", "plain"):
        trainer = make_trainer(
            checkpoints("video_llava"), tmp_path, small_rows(4), way=way, tune=tune, optim="sgd", learning_rate=0.1,
            lr_scheduler_type="constant", per_device_train_batch_size=2, gradient_accumulation_steps=2,
        )  # fmt: skip
        before = {n: p.detach().clone() for n, p in trainer.module.named_parameters()}
        trainer.train()
        assert trainer.state.global_step == 1
        moved = {n: p.detach() - before[n] for n, p in trainer.module.named_parameters() if p.requires_grad}
        frozen = {n: p for n, p in trainer.module.named_parameters() if not p.requires_grad}
        assert all(torch.equal(p, before[n]) for n, p in frozen.items())
        assert all("language_model" in n or "lm_head" in n for n in moved)
        after[way] = moved
    assert difference(after["packed"], after["plain"]) < 1e-5


def test_features_from_a_cache_train_the_same(checkpoints, tmp_path):
    trainer = make_trainer(checkpoints("video_llava"), tmp_path, small_rows(4))
    (wanted,), (loss,) = step_gradients(trainer)
    alignment, family = trainer.alignment, trainer.alignment.family

    def kept(video):
        """As a feature cache gives a video back."""
        if video is None:
            return None
        features = {name: value.detach() for name, value in alignment.encode(video).features.items()}
        inputs = {name: video.inputs[name] for name in family.cache_inputs}
        return EncodedVideo(PreparedVideo(inputs, video.placeholder, video.runs), features)

    for way in ("packed", "plain"):
        trainer.module.way = way
        trainer.module.zero_grad(set_to_none=True)
        encoded = [replace(t, real=kept(t.real), synthetic=kept(t.synthetic)) for t in trainer.train_dataset]
        batch = {"triplets": encoded, "filler": False}
        trainer.module.train()
        its_loss = trainer.compute_loss(trainer.module, batch, num_items_in_batch=trainer.counts(batch))
        its_loss.backward()
        assert difference(gradients(trainer.module), wanted) < 1e-5
        assert its_loss.item() == pytest.approx(loss, rel=1e-5)


def test_each_epoch_sees_each_triplet_once(checkpoints, tmp_path):
    """10 triplets in steps of 8: the second step is the mean over 2, not over 8."""
    data = small_rows(10)
    trainer = make_trainer(
        checkpoints("video_llava"),
        tmp_path,
        data,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
    )
    both, _ = step_gradients(trainer)
    rest = make_trainer(checkpoints("video_llava"), tmp_path, data[8:])
    (alone,), _ = step_gradients(rest)
    assert len(both) == 2
    assert difference(both[1], alone) < 1e-5
    assert [entry["rows"] for entry in trainer.state.log_history if "rows" in entry] == [8, 2]
