"""Measures of held-out data during training, by all processes together.

Triplets give the loss that training would have on them (sums over the whole set, divided by the counts of the whole
set) and the entailment AUC of their real videos; `EvaluationPairs` give the AUC alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from synvita_data.errors import SynvitaError

from .data import TripletData
from .evaluation_pairs import EvaluationPairs
from .logs import batch_sums
from .objective import Counts, Terms, combine, mean_scores
from .sampler import unfailed
from .triplet import TEXTS, VIDEOS, TrainingTriplet

if TYPE_CHECKING:
    from .trainer import SynViTATrainer

_OF_SCORES = ("auc", "paired_accuracy", "texts")


@dataclass(slots=True)
class _Scores:
    """Scores of texts: log-odds, whether the text is true of its video, and the video."""

    log_odds: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)

    def add(self, log_odds: Tensor, labels: Sequence[int], video: str) -> None:
        self.log_odds += log_odds.float().tolist()
        self.labels += [int(label) for label in labels]
        self.videos += [video] * len(labels)


@torch.no_grad()
def measure_held_out(trainer: "SynViTATrainer", dataset: Any) -> dict[str, float]:
    """All measures of a dataset, the same on every process.

    Returns:
        `auc` and `paired_accuracy` in percent, with `texts`, how many were scored; of triplets also `loss`,
        `loss/…` and `f/…` as in training's logs.

    Raises:
        SynvitaError: of `EvaluationPairs` no video could be read.
    """
    model: Any = trainer.model
    training = model.training
    model.eval()
    args = trainer.args
    loader = trainer.loader(dataset, args.eval_batch_size, collate=_items)
    scores, counts = _Scores(), Counts()
    sums: Tensor | None = None
    triplets = False
    try:
        for batch in map(unfailed, loader):
            triplets = isinstance(batch["items"][0], TrainingTriplet)
            items = [item for item in batch["items"] if triplets or item.video is not None]
            if not items:
                continue
            with trainer.accelerator.autocast():
                if triplets:
                    output = model(triplets=items)
                else:
                    output = model(videos=[(item.video, item.texts) for item in items])
            if batch["filler"]:
                continue
            if triplets:
                # To the CPU first: not every device has fp64. The scores of this batch are fetched anyway.
                own = batch_sums(trainer.terms(output), output.log_odds, output.scored).cpu().double()
                sums = own if sums is None else sums + own
                counts += trainer.counts({"triplets": items, "filler": False})
                for item, log_odds in zip(items, output.log_odds[:, 0, :2], strict=True):
                    if item.takes_real:  # once a pair; the other rows of a pair have the same video
                        scores.add(log_odds, (1, 0), item.pair_id)
            else:
                for item, log_odds in zip(items, output, strict=True):
                    scores.add(log_odds, item.labels, f"{item.row_id} {item.kind}")
    finally:
        model.train(training)
    measures: dict[str, float] = {}
    if triplets:
        measures |= _losses(trainer, sums, counts)
    return measures | _auc(_gathered(trainer, scores), required=not triplets)


def measures_of(dataset: Any) -> set[str]:
    """Names of what `measure_held_out` gives for a dataset, nothing measured; of an unknown type it reads one item."""
    if isinstance(dataset, TripletData):
        takes_real = any(triplet.takes_real for triplet in dataset.triplets)
    elif isinstance(dataset, EvaluationPairs) or not isinstance(dataset[0], TrainingTriplet):
        return set(_OF_SCORES)
    else:
        takes_real = not isinstance(dataset, list | tuple) or any(triplet.takes_real for triplet in dataset)
    terms = {f"loss/{each.name}" for each in fields(Terms)}
    means = {f"f/{video}/{text}" for video in VIDEOS for text in TEXTS}
    return {"loss", *terms, *means, *(_OF_SCORES if takes_real else ())}


def _items(rows: Sequence[Any]) -> dict[str, Any]:
    return {"items": list(rows)}


def _losses(trainer: "SynViTATrainer", sums: Tensor | None, counts: Counts) -> dict[str, float]:
    if sums is None:  # this process had fillers only
        sums = torch.zeros(4 + 16, dtype=torch.float64)
    sums = trainer.summed_on_cpu(sums)
    counts = Counts.from_tensor(trainer.summed(counts.tensor(trainer.args.device)))
    loss, parts = combine(
        Terms(*sums[:4]),
        counts,
        normalisation=trainer.args.normalisation,
        scr_weight=trainer.args.scr_weight,
        nle_weight=trainer.args.nle_weight,
    )
    named = {f"loss/{name}": float(value) for name, value in parts.named().items()}
    return {"loss": float(loss), **named, **mean_scores(sums[4:].view(2, 2, 4))}


def _gathered(trainer: "SynViTATrainer", scores: _Scores) -> _Scores:
    """The scores of all processes."""
    if trainer.args.world_size == 1:
        return scores
    from accelerate.utils import gather_object

    everyone = _Scores()
    for other in gather_object([(scores.log_odds, scores.labels, scores.videos)]):
        everyone.log_odds += other[0]
        everyone.labels += other[1]
        everyone.videos += other[2]
    return everyone


def _auc(scores: _Scores, *, required: bool) -> dict[str, float]:
    from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc

    if len(set(scores.labels)) < 2:
        if not required:  # triplets without real videos have a loss all the same
            return {}
        raise SynvitaError(
            "the held-out data has no AUC",
            found=f"{sum(scores.labels)} true texts and {len(scores.labels) - sum(scores.labels)} false ones",
            expected="some of both",
        )
    result = entailment_auc(
        scores.log_odds, scores.labels, scores.videos, kind="log_odds", strict=False, resamples=0
    )
    return {
        "auc": result["auc"]["value"],
        "paired_accuracy": result["paired_accuracy"]["value"],
        "texts": len(scores.labels),
    }
