"""What is measured: the parts of the loss in training's logs, and held-out data by all processes together.

Held-out triplets give the loss that training would have on them (sums over the whole set, divided by the counts of the
whole set) and the entailment AUC of their real videos; `EvaluationPairs` give the AUC alone.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import Dataset
from transformers.trainer_utils import IntervalStrategy

from synvita_data.captions import Text
from synvita_data.display import get_logger
from synvita_data.errors import SchemaError, SynvitaError, VideoError
from synvita_data.models import AlignmentModel, EncodedVideo, PreparedVideo
from synvita_data.models.features import FeatureCache
from synvita_data.models.videos import VideoPreparer
from synvita_data.video import FramePolicy, FramePolicyError, MissingBackendError

from .config import SynViTAConfig
from .data import TEXTS, VIDEOS, TrainingTriplet
from .data.dataset import TripletData
from .data.rows import Row, VideoColumn, describe, is_table, read_rows
from .data.sampler import unfailed
from .data.text_check import TextCheck
from .objective import Counts, Terms, mean_scores, pair_sums

if TYPE_CHECKING:
    from .trainer import SynViTATrainer

logger = get_logger(__name__)

# Rows since the last line of logs, by what they have or lack.
ROWS: dict[str, Callable[[TrainingTriplet], bool]] = {
    "rows": lambda triplet: True,
    "rows/without_real": lambda triplet: triplet.real is None,
    "rows/without_synthetic": lambda triplet: triplet.synthetic is None and not triplet.zero_weight,
    "rows/zero_weight": lambda triplet: triplet.zero_weight,
    "rows/real_taken_elsewhere": lambda triplet: triplet.real is not None and not triplet.takes_real,
    "rows/with_explanation": lambda triplet: triplet.explanation is not None and triplet.real is not None,
}
TERMS = tuple(each.name for each in fields(Terms))
_SCORES = 2 * 2 * 4  # of `pair_sums`
_PENDING = 256  # batches that wait on the device before they are fetched


class TrainingLogs:
    """Sums over batches: each batch's on the device, without waiting for it, and their sum in fp64 on the CPU.

    Apple's GPUs have no fp64. So a batch's numbers stay as they are, some 20 of them, and come to the CPU together:
    once a line of logs, or every 256 batches where lines are further apart.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._pending: list[Tensor] = []
        self._sums = torch.zeros(len(TERMS) + _SCORES, dtype=torch.float64)
        self._rows = [0] * len(ROWS)

    def add(
        self, triplets: Sequence[TrainingTriplet], parts: Terms, log_odds: Tensor, scored: Tensor
    ) -> None:
        """A batch.

        Args:
            triplets: the batch.
            parts: normalised terms, whose sum over the batches of an optimizer step (and all processes) is the step's.
            log_odds: [N, 2, 4].
            scored: bool [N, 2, 4].
        """
        self._pending.append(batch_sums(parts, log_odds, scored))
        if len(self._pending) == _PENDING:
            self._fetch()
        for place, has in enumerate(ROWS.values()):
            self._rows[place] += sum(map(has, triplets))

    def take(self, reduce: Callable[[Tensor], Tensor], steps: int) -> dict[str, float]:
        """What was added on all processes since the last time; begins from zero again.

        Args:
            reduce: the sum over processes of an fp64 tensor on the CPU.
            steps: optimizer steps since then.

        Returns:
            `loss/…`, each term's mean over the steps, without λ and nle_weight; `f/…`, the mean of each of the
            eight scores over the triplets that have it; `rows…`, counts.
        """
        self._fetch()
        total = reduce(torch.cat([self._sums, torch.tensor(self._rows, dtype=torch.float64)]))
        self._clear()
        terms, scores, rows = total.split([len(TERMS), _SCORES, len(ROWS)])
        logs = {f"loss/{name}": float(value) / steps for name, value in zip(TERMS, terms, strict=True)}
        logs |= mean_scores(scores.view(2, 2, 4))
        return logs | {name: int(value) for name, value in zip(ROWS, rows, strict=True)}

    def _fetch(self) -> None:
        if self._pending:
            self._sums += torch.stack(self._pending).cpu().double().sum(0)
            self._pending.clear()


def batch_sums(parts: Terms, log_odds: Tensor, scored: Tensor) -> Tensor:
    """The terms of a batch and its `pair_sums`, one behind the other: [terms + 16], on the batch's device."""
    terms = torch.stack([parts.named()[name].detach() for name in TERMS])
    return torch.cat([terms, pair_sums(log_odds, scored).flatten().to(terms.device)])


# Held-out data


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationItem:
    """One video with its two captions.

    Attributes:
        row_id: `id` of the dataset.
        kind: one of VIDEOS.
        video: None where it cannot be read; it then counts for nothing.
        texts: (caption, neg_caption), shown whole.
        labels: whether each is true of the video.
    """

    row_id: str
    kind: str
    video: PreparedVideo | EncodedVideo | None
    texts: tuple[Text, Text]
    labels: tuple[bool, bool]


class EvaluationPairs(Dataset[EvaluationItem]):
    """A held-out split as pairs of a video and a caption: (real, caption, true), (real, neg_caption, false), and
    on request (synthetic, neg_caption, true), (synthetic, caption, false).

    A real video comes once a pair, whatever the number of synthetic ones. Rows without the video are left out and
    counted. Loader workers give what this process would.

    Args:
        rows: as for `TripletData`.
        model: as for `TripletData`.
        synthetic: whether synthetic videos are asked about too.
        frames: which frames; None for the model family's own.
        cache: features of videos.
        name: of the dataset, for messages.

    Raises:
        SynvitaError: as `TripletData`; SchemaError where no row has a video.
    """

    def __init__(
        self,
        rows: Any,
        model: AlignmentModel | VideoPreparer,
        *,
        synthetic: bool = False,
        frames: FramePolicy | None = None,
        cache: FeatureCache | None = None,
        name: str | None = None,
    ) -> None:
        self.preparer = VideoPreparer.of(model, frames=frames, cache=cache)
        self.name = name or describe(rows)
        kinds = VIDEOS if synthetic else VIDEOS[:1]
        read = read_rows(rows, optional=["synthetic_video"] if synthetic else [], name=self.name)
        self._items: list[tuple[Row, str]] = []
        taken: set[str] = set()
        for row in read:
            if row.has_real and row.pair_id not in taken:
                taken.add(row.pair_id)
                self._items.append((row, VIDEOS[0]))
            if row.has_synthetic:
                self._items.append((row, VIDEOS[1]))
        if not self._items:
            raise SchemaError(
                "no row of the held-out split has a video",
                file=self.name,
                found=f"{len(read):,} rows, no {' and no '.join(kinds)} video",
                expected="at least one",
                fix="Say where the real videos lie: real_root=DIR (in a recipe, or of load_triplets)",
            )
        pairs = len({row.pair_id for row in read})
        self._counts = {
            "rows": len(read),
            "pairs": pairs,
            "videos": len(self._items),
            "without_real": pairs - len(taken),
            "without_synthetic": sum(not row.has_synthetic for row in read) if synthetic else 0,
        }
        TextCheck(self.preparer, self.name).captions(
            [(caption, row.number) for row, _ in self._items for caption in (row.caption, row.neg_caption)]
        )
        self._videos = {kind: VideoColumn(rows, f"{kind}_video") for kind in kinds}
        self._unreadable = torch.zeros(len(self._items), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> EvaluationItem:
        index = range(len(self))[operator.index(index)]
        row, kind = self._items[index]
        real = kind == "real"
        times = (row.start, row.end) if real else (None, None)
        try:
            video = self.preparer.read(self._videos[kind][row.number], *times)
        except (MissingBackendError, FramePolicyError):
            raise
        except VideoError as error:
            if not self._unreadable[index]:
                logger.warning("row %d, %s video left out of the evaluation: %s", row.number, kind, error)
            self._unreadable[index] = 1
            video = None
        texts = (Text(row.caption), Text(row.neg_caption))
        return EvaluationItem(row.row_id, kind, video, texts, (real, not real))

    @property
    def counts(self) -> dict[str, int]:
        """Plain numbers for logs: rows, pairs, videos, pairs without a real video, rows without a synthetic one,
        and videos that turned out unreadable so far."""
        return {**self._counts, "unreadable": int(self._unreadable.sum())}


_OF_SCORES = ("auc", "paired_accuracy", "texts")


@torch.no_grad()
def evaluate_dataset(trainer: "SynViTATrainer", dataset: Any) -> dict[str, float]:
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
    counts = Counts()
    # Of each text: its log-odds, whether it is true of its video, and the video.
    scores: list[tuple[float, bool, str]] = []
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
                        odds = log_odds.float().tolist()
                        scores.extend(zip(odds, (True, False), [item.pair_id] * 2, strict=True))
            else:
                for item, log_odds in zip(items, output, strict=True):
                    odds, video = log_odds.float().tolist(), f"{item.row_id} {item.kind}"
                    scores.extend(zip(odds, item.labels, [video] * 2, strict=True))
    finally:
        model.train(training)
    measures: dict[str, float] = {}
    if triplets:
        measures |= _losses(trainer, sums, counts)
    return measures | _auc(gather_object(scores), required=not triplets)


def measures_of(dataset: Any) -> set[str]:
    """Names of what `evaluate_dataset` gives for a dataset, nothing measured; of an unknown type it reads one item."""
    if isinstance(dataset, TripletData):
        takes_real = any(triplet.takes_real for triplet in dataset.triplets)
    elif (
        isinstance(dataset, EvaluationPairs)
        or is_table(dataset)
        or not isinstance(dataset[0], TrainingTriplet)
    ):
        return set(_OF_SCORES)
    else:
        takes_real = not isinstance(dataset, list | tuple) or any(triplet.takes_real for triplet in dataset)
    terms = {f"loss/{name}" for name in TERMS}
    means = {f"f/{video}/{text}" for video in VIDEOS for text in TEXTS}
    return {"loss", *terms, *means, *(_OF_SCORES if takes_real else ())}


def _items(rows: Sequence[Any]) -> dict[str, Any]:
    return {"items": list(rows)}


def _losses(trainer: "SynViTATrainer", sums: Tensor | None, counts: Counts) -> dict[str, float]:
    if sums is None:  # this process had fillers only
        sums = torch.zeros(len(TERMS) + _SCORES, dtype=torch.float64)
    sums = trainer.summed_on_cpu(sums)
    counts = Counts.from_tensor(trainer.summed(counts.tensor(trainer.args.device)))
    terms, scores = sums.split([len(TERMS), _SCORES])
    loss, parts = trainer.objective.loss(Terms(*terms), counts)
    named = {f"loss/{name}": float(value) for name, value in parts.named().items()}
    return {"loss": float(loss), **named, **mean_scores(scores.view(2, 2, 4))}


def _auc(scores: Sequence[tuple[float, bool, str]], *, required: bool) -> dict[str, float]:
    from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc

    log_odds, labels, videos = zip(*scores, strict=True) if scores else ((), (), ())
    if len(set(labels)) < 2:
        if not required:  # triplets without real videos have a loss all the same
            return {}
        raise SynvitaError(
            "the held-out data has no AUC",
            found=f"{sum(labels)} true texts and {len(labels) - sum(labels)} false ones",
            expected="some of both",
        )
    result = entailment_auc(
        log_odds, list(map(int, labels)), videos, kind="log_odds", strict=False, resamples=0
    )
    measures: dict[str, float] = {name: result[name]["value"] for name in ("auc", "paired_accuracy")}
    return measures | {"texts": len(labels)}


def choose_measure(config: SynViTAConfig, dataset: Any) -> None:
    """Choose the measure that the best model is chosen by: `auc`, the higher the better, where evaluations give no loss
    and `config` names none; it is changed in place.

    Raises:
        SynvitaError: evaluations without data, a measure that they will not give.
    """
    if config.eval_strategy == "no":
        return
    if dataset is None:
        raise SynvitaError(
            "there is nothing to evaluate on",
            found=f"eval_strategy={IntervalStrategy(config.eval_strategy).value} without held-out data",
            fix="Give an eval_dataset (eval_split in a recipe), or set eval_strategy=no",
        )
    chooses = config.load_best_model_at_end or config.save_strategy == "best"
    if config.metric_for_best_model is None and not chooses:
        return
    known = _measures(dataset)
    if not config.metric_is_given:
        loss = next((name for name in known if name.rpartition("_")[2] == "loss"), None)
        auc = next((name for name in known if name.rpartition("_")[2] == "auc"), None)
        config.metric_for_best_model = loss or auc
        if not config.better_is_given:
            config.greater_is_better = loss is None
        if loss is None and config.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
            given = config.lr_scheduler_kwargs
            config.lr_scheduler_kwargs = {"mode": "max", **(given if isinstance(given, dict) else {})}
    metric = str(config.metric_for_best_model)
    if metric.removeprefix("eval_") not in known:
        raise SynvitaError(
            "evaluations will not give metric_for_best_model",
            found=metric,
            expected=f"one of {', '.join(known)}",
        )


def _measures(dataset: Any) -> list[str]:
    """Names of all measures of an evaluation, as they are logged behind `eval_`."""
    if isinstance(dataset, Mapping):
        return [f"{name}_{measure}" for name, own in dataset.items() for measure in _measures(own)]
    return sorted(measures_of(dataset))
