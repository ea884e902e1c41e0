"""One cell: fine-tune the model by its recipe on a world's dataset, and evaluate it on the world's test sets.

Dataset, trainer, adapter, metrics and tasks are those that VideoCon is trained and evaluated with.
"""

import copy
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PrinterCallback

from ..annotations.read import read_annotations
from ..errors import SchemaError, ScoreError
from ..evaluation.run import evaluate_scorer
from ..models import AlignmentModel
from ..models.features import FeatureCache
from ..models.loading import load_alignment_model
from ..models.resolve import find_checkpoint
from ..models.videos import VideoPreparer
from ..schema import MISALIGNMENTS
from ..scoring.alignment import AlignmentScorer
from ..training.config import SynViTAConfig
from ..training.data import TrainingTriplet
from ..training.data.dataset import TripletData
from ..training.data.features import fill_feature_cache
from ..training.trainer import SynViTATrainer
from .questions import OWN_WEIGHTS, Recipe
from .weights import own_weights
from .worlds import TestSets, TrainingWorld

# Outcome -> task, the way to a part of its pairs, and the measure.
OUTCOMES = {
    "unseen": ("shapes-llm", "groups", "set", "unseen", "auc"),
    "train_like": ("shapes-llm", "groups", "set", "train_like", "auc"),
    "rest": ("shapes-llm", "groups", "set", "rest", "auc"),
    "flip": ("shapes-llm", "groups", "set", "flip", "auc"),
    "temporal": ("shapes-temporal", "map"),
}

# q, k, v and o of the language model's attention, as in the paper.
TARGETS = r".*language_model.*\.(q|k|v|o)_proj"


@dataclass(frozen=True, slots=True)
class Base:
    """The model that cells start from, read once in a process.

    Attributes:
        model: in evaluation mode, never changed: every cell trains a copy.
        revision: of its files.
        cache: of its tower's features, which no cell changes.
    """

    model: AlignmentModel
    revision: str
    cache: FeatureCache

    @classmethod
    def load(cls, name: str, features: Path) -> "Base":
        """The model of a name or folder, on the CPU.

        Raises:
            SynvitaError: there is no such model, or it cannot be read.
        """
        model, revision = load_alignment_model(find_checkpoint(name), device="cpu")
        return cls(model, revision, FeatureCache.of(model, revision, features))


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell gives.

    Attributes:
        values: outcome -> AUC or mAP, percent.
        groups: `misalignment` and `concept` -> value -> AUC of those pairs of `shapes-llm`.
        facts: of the training rows: how many, ω by misalignment, share of right clips, the last loss.
        seconds: of processor time: `train` and `evaluate`.
    """

    values: dict[str, float]
    groups: dict[str, dict[str, float]]
    facts: dict[str, Any]
    seconds: dict[str, float]

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in ("values", "groups", "facts", "seconds")}


def run_cell(
    recipe: Recipe, seed: int, world: TrainingWorld | None, tests: TestSets, base: Base
) -> CellResult:
    """Train and evaluate.

    Args:
        recipe: of the cell.
        seed: of adapter, batches and dropout; that of the world is in `world` and `tests`.
        world: to train on; None where nothing is trained.
        tests: to evaluate on.
        base: the model to start from.

    Raises:
        SynvitaError: the world does not fit the recipe, or whatever training or evaluation raises.
    """
    began = time.process_time()
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="synvita-cell-") as folder:
        if recipe.steps and world is not None:
            model, facts = train(recipe, seed, world, base, Path(folder) / "training")
        else:
            model = base.model
        trained = time.process_time()
        values, groups = evaluate(model, tests, base, Path(folder) / "results")
    seconds = {"train": trained - began, "evaluate": time.process_time() - trained}
    return CellResult(values, groups, facts, {name: round(own, 2) for name, own in seconds.items()})


def train(
    recipe: Recipe, seed: int, world: TrainingWorld, base: Base, folder: Path
) -> tuple[AlignmentModel, dict[str, Any]]:
    """A fine-tuned copy of the model, in evaluation mode, and what it was trained on."""
    config = SynViTAConfig(
        output_dir=str(folder),
        use_cpu=True,
        seed=seed,
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        adam_beta2=0.98,
        lora_r=recipe.rank,
        lora_alpha=recipe.rank,
        lora_dropout=recipe.dropout,
        lora_targets=TARGETS,
        margin=recipe.margin,
        scr_weight=recipe.scr_weight,
        weighting="fixed" if recipe.weights in OWN_WEIGHTS else recipe.weights,
        use_synthetic=recipe.clips != "none",
        misalignments=list(recipe.misalignments),
        nle_share=0.0,
        save_strategy="no",
        eval_strategy="no",
        logging_steps=max(1, recipe.steps // 5),
        disable_tqdm=True,
        report_to="none",
    )
    triplets, facts = training_triplets(recipe, seed, world, base, config)
    network = copy.deepcopy(base.model.family.model)
    trainer = SynViTATrainer(network, base.model.family.processor, config, triplets)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    # The adapter's products are added to the weights, which changes scores by rounding alone and halves their cost.
    merged = trainer.alignment.model.merge_and_unload()
    arguments = config.model_arguments()
    trained = AlignmentModel(merged, base.model.family.processor, **arguments).eval()
    return trained, facts | {"loss": round(float(losses[-1]), 4)}


def training_triplets(
    recipe: Recipe, seed: int, world: TrainingWorld, base: Base, config: SynViTAConfig
) -> tuple[list[TrainingTriplet], dict[str, Any]]:
    """The samples of a cell with their features, and facts of them."""
    rows = world.rows(recipe.clips)
    preparer = VideoPreparer.of(base.model, cache=base.cache)
    data = TripletData(rows, preparer, **config.data_arguments(base.model.family) | {"frames": None})
    if len(data) < recipe.batch:
        raise SchemaError(
            "too few pairs for a cell",
            file=world.folder,
            found=f"{len(data)} triplets",
            expected=f"at least a batch of {recipe.batch}",
        )
    # The first cell of a world sends its videos through the frozen tower; all others find the features.
    fill_feature_cache(data, base.model, workers=1)
    triplets = [data[place] for place in range(len(data))]
    facts: dict[str, Any] = {"triplets": len(triplets)}
    if recipe.clips != "generated":
        return triplets, facts
    # ω and what the world knows of the clips, in the order of the triplets.
    known = {row["id"]: row for row in world.facts()}
    own = [known[triplet.row_id] for triplet in triplets]
    omega = np.array([row["weight"] for row in own], dtype=np.float64)
    right = np.array([row["right"] for row in own])
    kinds = [row["misalignment"] for row in own]
    if recipe.weights in OWN_WEIGHTS:
        weights = own_weights(recipe.weights, omega, right, kinds, seed)
        triplets = [_weighed(each, float(weight)) for each, weight in zip(triplets, weights, strict=True)]
    facts |= {
        "weight": round(float(np.mean([each.weight for each in triplets])), 4),
        "omega": round(float(omega.mean()), 4),
        "omega_right": _mean(omega[right]),
        "omega_wrong": _mean(omega[~right]),
        "right": round(float(right.mean()), 4),
        "difference": {
            kind: _mean(np.array([row["difference"] for row in own if row["misalignment"] == kind]))
            for kind in MISALIGNMENTS
            if kind in kinds
        },
    }
    return triplets, facts


def _mean(values: Any) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


@dataclass(frozen=True, slots=True, eq=False)
class HeavyTriplet(TrainingTriplet):
    """A triplet whose weight may be above 1, as normalised weights are; the package's own weights never are."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ScoreError("a weight is not above 0", row=self.row_id, found=self.weight)


def _weighed(triplet: TrainingTriplet, weight: float) -> TrainingTriplet:
    """The triplet at another weight; at 0 its synthetic video is not encoded, as in `TripletData`."""
    if weight > 1:
        values = {each.name: getattr(triplet, each.name) for each in fields(TrainingTriplet)}
        return HeavyTriplet(**values | {"weight": weight})
    if weight > 0:
        return replace(triplet, weight=weight)
    return replace(triplet, synthetic=None, weight=0.0, zero_weight=True)


def evaluate(
    model: AlignmentModel, tests: TestSets, base: Base, folder: Path
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The outcomes of a model: main scores of tasks or of a part of their pairs, and AUC by misalignment and concept."""
    scorer = AlignmentScorer(model, "cell", base.revision, workers=1, cache=base.cache)
    measured: dict[str, Mapping[str, Any]] = {}
    for task in tests.tasks():
        annotations = read_annotations(task, tests.folder)
        done = evaluate_scorer(scorer, task, annotations, tests.videos, folder, resamples=0)
        assert done is not None  # one process
        measured[task.name] = done.result.record["metrics"]
    values: dict[str, float] = {}
    for outcome, (name, *place, score) in OUTCOMES.items():
        part = measured[name]
        for key in place:
            part = part.get(key) or {}
        if (own := part.get(score)) is not None and own["value"] is not None:
            values[outcome] = round(float(own["value"]), 4)
    groups = {
        column: {
            value: round(float(own["auc"]["value"]), 4)
            for value, own in measured["shapes-llm"]["groups"][column].items()
            if value and (own["auc"] or {}).get("value") is not None
        }
        for column in ("misalignment", "concept")
    }
    return values, groups
