"""What is wrong with arguments, model or data is said before the first step."""

import pandas
import pytest
import torch
from small_trainer import arguments, load, small_rows, triplets_of

from synvita_data.errors import SynvitaError, VideoError
from synvita_data.training import Objective, SynViTATrainer, TripletModule


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from synvita_data.testing import make_tiny

    return make_tiny("video_llava", tmp_path_factory.mktemp("model"))


def refused(words, *args, **kwargs):
    with pytest.raises(SynvitaError) as error:
        SynViTATrainer(*args, **kwargs)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_data_parallel(checkpoint, tmp_path):
    config = arguments(tmp_path)
    _ = config.device  # on a machine with two GPUs in one process this finds 2
    config._n_gpu = 2
    model, processor = load(checkpoint)
    refused(["nn.DataParallel", "2 GPUs", "torchrun"], model, processor, config, [])
    assert not any(p.requires_grad is False for p in model.parameters())  # nothing was changed yet


def test_arguments_of_a_stock_trainer(checkpoint, tmp_path):
    from transformers import TrainingArguments

    refused(["SynViTAConfig"], *load(checkpoint), TrainingArguments(str(tmp_path), report_to="none"), [])


def test_a_model_without_a_family(tmp_path):
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    clip = CLIPModel(CLIPConfig(text_config=CLIPTextConfig(**tiny), vision_config=CLIPVisionConfig(**tiny)))
    refused(["family", "'clip'", "video_llava"], clip, None, arguments(tmp_path), None)


def test_a_model_that_nobody_can_find_again(checkpoint, tmp_path):
    model, processor = load(checkpoint)
    model.name_or_path = model.config._name_or_path = ""
    refused(["adapter", "name_or_path"], model, processor, arguments(tmp_path), None)


def test_targets_that_fit_nothing(checkpoint, tmp_path):
    for targets, words in ((r".*\.mixer", ["no module", "mixer"]), (r"(", ["regular expression"])):
        refused(words, *load(checkpoint), arguments(tmp_path, lora_targets=targets), None)


def test_an_adapter_and_a_full_fine_tune(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    model, processor = load(checkpoint)
    network = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    refused(["merge"], network, processor, arguments(tmp_path, tune="all"), None)


def test_rows_that_are_no_triplets(checkpoint, tmp_path):
    datasets = pytest.importorskip("datasets")
    model, processor = load(checkpoint)
    table = datasets.Dataset.from_dict({"id": ["a"]})
    refused(["lacks columns", "real_video"], model, processor, arguments(tmp_path), table)
    model, processor = load(checkpoint)
    refused(["lacks columns", "real_video"], model, processor, arguments(tmp_path), [{"id": "a"}])
    model, processor = load(checkpoint)
    refused(["something else", "str"], model, processor, arguments(tmp_path), ["a"])
    mixed = [*triplets_of(small_rows(1), model, processor), {"id": "a"}]
    refused(["something else", "dict"], model, processor, arguments(tmp_path), mixed)
    refused(["something else", "TrainingTriplet"], model, processor, arguments(tmp_path), mixed[::-1])
    refused(["empty"], model, processor, arguments(tmp_path), [])
    refused(["order"], model, processor, arguments(tmp_path), iter([]))
    refused(["splits", "dict"], model, processor, arguments(tmp_path), {"train": [{}]})
    frame = pandas.DataFrame({"caption": ["a dog"]})
    refused(
        ["train_dataset is of columns", "DataFrame", "records"], model, processor, arguments(tmp_path), frame
    )
    # Held-out data too: now, and not behind hours of training.
    for wrong, words in (
        ([], "eval_dataset is empty"),
        (frame, "DataFrame"),
        ({"a": []}, "eval_dataset is empty"),
    ):
        refused([words], model, processor, arguments(tmp_path), None, wrong)
    trainer = SynViTATrainer(model, processor, arguments(tmp_path))
    with pytest.raises(SynvitaError, match="nothing to train on"):
        trainer.train()
    with pytest.raises(SynvitaError, match="nothing to evaluate on"):
        trainer.evaluate()


def test_fewer_triplets_than_a_step(checkpoint, tmp_path):
    model, processor = load(checkpoint)
    config = arguments(tmp_path, dataloader_drop_last=True)
    trainer = SynViTATrainer(model, processor, config, triplets_of(small_rows(2), model, processor))
    with pytest.raises(SynvitaError, match="at least 8"):
        trainer.train()


def test_a_triplet_without_videos(checkpoint, tmp_path):
    from dataclasses import replace

    model, processor = load(checkpoint)
    (triplet,) = triplets_of(small_rows(1), model, processor)
    trainer = SynViTATrainer(model, processor, arguments(tmp_path))
    nothing = replace(triplet, real=None, synthetic=None, weight=0.0, takes_real=False)
    with pytest.raises(SynvitaError, match="row0: a triplet has neither"):
        trainer.module(triplets=[nothing])


def test_only_what_a_term_reads_is_scored(checkpoint, tmp_path):
    model, processor = load(checkpoint)
    triplets = triplets_of(small_rows(8), model, processor)
    trainer = SynViTATrainer(model, processor, arguments(tmp_path, scr_weight=0.0), triplets)
    scores = trainer.module(triplets=triplets)
    assert not scores.scored[:, :, 2:].any()
    assert (scores.log_odds[:, :, 2:] == 0).all()
    taken = torch.tensor([t.takes_real for t in triplets])
    assert torch.equal(scores.scored[:, 0, 0], taken)
    assert (scores.log_odds[taken][:, 0, :2] != 0).all()
    idle = TripletModule(trainer.alignment, Objective(scr_weight=0.0))
    (nothing,) = [t for t in triplets if not t.takes_real and t.real is not None]
    from dataclasses import replace

    out = idle(triplets=[replace(nothing, synthetic=None, weight=0.0)])  # computes, and counts for nothing
    assert not out.scored.any()
    assert (out.log_odds == 0).all()
    assert out.log_odds.requires_grad


def test_frozen_parts_stay_in_evaluation_mode(checkpoint, tmp_path):
    trainer = SynViTATrainer(*load(checkpoint), arguments(tmp_path))
    trainer.module.train()
    backbone = trainer.alignment.family.backbone
    assert not backbone.video_tower.training
    assert not backbone.multi_modal_projector.training
    assert backbone.language_model.training
    trained = {name for name, p in trainer.module.named_parameters() if p.requires_grad}
    assert trained
    assert all("language_model" in name and "lora_" in name for name in trained)
    trainer.module.eval()
    assert not backbone.language_model.training


@pytest.mark.parametrize("way", ["packed", "plain"])
def test_dropout_of_a_frozen_part_is_off_unless_it_is_asked_for(tmp_path, way):
    """mPLUG-Owl's abstractor: by default two forward passes in training are one; `frozen_dropout` leaves its attention
    dropout on, as the released training does, and the vision tower, whose features a cache may keep, off."""
    from synvita_data.testing import make_tiny

    folder = make_tiny("mplug-owl", tmp_path / "model")

    def passes(frozen_dropout):
        model, processor = load(folder)
        for module in model.modules():
            if hasattr(getattr(module, "config", None), "attention_probs_dropout_prob"):
                module.config.attention_probs_dropout_prob = 0.1
        config = arguments(tmp_path, frozen_dropout=frozen_dropout, way=way)
        triplets = triplets_of(small_rows(2), model, processor)
        trainer = SynViTATrainer(model, processor, config, triplets)
        trainer.module.train()
        torch.manual_seed(0)
        with torch.no_grad():
            in_training = [trainer.module(triplets=triplets).log_odds for _ in range(2)]
            trainer.module.eval()
            evaluated = trainer.module(triplets=triplets).log_odds
        trainer.module.train()
        return model, in_training, evaluated

    model, (one, two), evaluated = passes(False)
    assert not model.abstractor.training
    assert torch.equal(one, two)
    assert torch.equal(one, evaluated)  # LoRA has no dropout here
    model, (one, two), evaluated_too = passes(True)
    assert model.abstractor.training
    assert not any(p.requires_grad for p in model.abstractor.parameters())
    assert not model.vision_model.training
    assert (one - two).abs().max() > 1e-4
    assert torch.equal(evaluated_too, evaluated)


class Broken:
    """Two triplets, and a third whose reading ends the run."""

    def __init__(self, triplets):
        self.triplets = triplets

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 2:
            raise VideoError("too many videos cannot be read", file="data", found="9 of 24")
        return self.triplets[index]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_is_the_users_own(checkpoint, tmp_path, workers):
    model, processor = load(checkpoint)
    data = Broken(triplets_of(small_rows(2), model, processor))
    config = arguments(tmp_path, dataloader_num_workers=workers, per_device_train_batch_size=1)
    trainer = SynViTATrainer(model, processor, config, data)
    for act in (trainer.train, lambda: trainer.evaluate(data)):
        with pytest.raises(VideoError) as error:
            act()
        assert str(error.value) == "data: too many videos cannot be read. Found: 9 of 24."
        assert error.value.problem == "too many videos cannot be read"


@pytest.mark.slow
def test_data_made_with_other_options(checkpoint, tmp_path):
    from small_triplets import row

    from synvita_data.models import AlignmentModel
    from synvita_data.training import TripletData
    from synvita_data.video import FramePolicy

    model, processor = load(checkpoint)
    alignment = AlignmentModel(model, processor)

    def data(**options):
        return TripletData([row(0)], alignment, **options)

    own = FramePolicy(count=8, rule="linspace")
    SynViTATrainer(model, processor, arguments(tmp_path), data(frames=own))  # the family's
    SynViTATrainer(model, processor, arguments(tmp_path, seed=5), data())  # chooses among nothing
    model, processor = load(checkpoint)
    for options, changes, words in (
        ({}, {"frames": 4}, ["frames", "count=8", "count=4"]),
        ({"weighting": "fixed"}, {}, ["weighting 'fixed'", "weighting None"]),
        (
            {},
            {"use_synthetic": False, "masked_text": "remove"},
            ["use_synthetic True", "use_synthetic False"],
        ),
        ({"masked_text": "remove"}, {}, ["masked_text 'remove'", "masked_text 'hide'"]),
        ({"use_scr": False}, {}, ["use_scr False", "use_scr True"]),
        ({"nle_share": 0.5}, {"nle_share": 0.5}, ["seed 0", "seed 42"]),
        ({}, {"nle_weight": 0.0}, ["nle_share 1.0", "nle_share 0.0"]),
        ({}, {"prompt": "video-llava-train"}, ["prompt 'video-llava", "prompt 'video-llava-train'"]),
    ):
        config = arguments(tmp_path, **changes)
        stock = model if not hasattr(model, "peft_config") else model.get_base_model()
        refused(["other options", *words], stock, processor, config, data(**options))
        model, processor = load(checkpoint)


def test_a_stock_trainers_data_without_what_its_loss_takes():
    from types import SimpleNamespace

    from synvita_data.training import SynViTALoss

    planned = SimpleNamespace(dataset=SimpleNamespace(arguments={"use_scr": False}))
    with pytest.raises(SynvitaError, match="without L_scr"):
        SynViTALoss().on_train_begin(None, None, None, train_dataloader=planned)
    SynViTALoss(scr_weight=0.0).on_train_begin(None, None, None, train_dataloader=planned)


@pytest.mark.slow
def test_the_measure_that_chooses_the_best(checkpoint, tmp_path):
    from small_triplets import row

    from synvita_data.models import AlignmentModel
    from synvita_data.training.evaluation import EvaluationPairs

    model, processor = load(checkpoint)
    triplets = triplets_of(small_rows(2), model, processor)
    pairs = EvaluationPairs([row(0), row(1)], AlignmentModel(model, processor))
    best = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "best"}
    at_end = best | {"save_strategy": "steps", "save_steps": 1, "load_best_model_at_end": True}
    for held_out, changes, words in (
        (None, best, ["nothing to evaluate on", "eval_strategy=steps"]),
        (pairs, at_end | {"metric_for_best_model": "loss"}, ["found: loss", "auc, paired_accuracy"]),
        (triplets, best | {"metric_for_best_model": "eval_au"}, ["eval_au", "loss/real"]),
        ({"a": pairs}, best | {"metric_for_best_model": "auc"}, ["a_auc"]),
    ):
        with pytest.raises(SynvitaError) as error:
            SynViTATrainer(model, processor, arguments(tmp_path, **changes), triplets, held_out)
        assert all(word.lower() in str(error.value).lower() for word in words), str(error.value)
    for held_out, changes, chosen in (
        (pairs, best, ("auc", True)),
        (pairs, at_end, ("auc", True)),
        (pairs, at_end | {"metric_for_best_model": "eval_auc"}, ("eval_auc", True)),
        (pairs, at_end | {"greater_is_better": False}, ("auc", False)),
        ({"a": pairs}, best, ("a_auc", True)),
        (triplets, at_end, ("loss", False)),
    ):
        trainer = SynViTATrainer(*load(checkpoint), arguments(tmp_path, **changes), triplets, held_out)
        assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == chosen
        if held_out is pairs and changes is at_end:
            trainer.train()
            measured = [e["eval_auc"] for e in trainer.state.log_history if "eval_auc" in e]
            assert trainer.state.best_metric == max(measured)
