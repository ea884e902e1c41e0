"""Filters of rows by models: what the caption entails, and what one frame tells.

Both are VideoCon's. `NliFilter` drops a contrast caption that the caption entails, because then it may be true of the
video. `FrameVqaFilter` keeps a row only where a model of single frames cannot confirm the caption ("temporally
challenging"): what one frame tells asks nothing of a video. The threshold of both is 0.5 (recalled from the paper).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synvita_data.errors import CaptionError, SynvitaError, VideoError
from synvita_data.models.resolve import CONFIG, ModelFiles, locate
from synvita_data.real_videos.find import RealVideos
from synvita_data.video import FramePolicy, MissingBackendError, decode

from ..vqascore.job import check_distinct, default_dtype
from ..vqascore.models import find_model, open_scorer
from ..vqascore.run import score_of

if TYPE_CHECKING:
    import torch

    from ..vqascore.base import MemoryLimit, VqaScorer

# Raise it when equal rows would get another verdict.
FILTER_VERSION = 1
THRESHOLD = 0.5
# Pairs of captions are padded to a multiple of this many tokens.
LENGTHS = 32
# Decoded frames of videos are asked about with one caption after the other; scores are kept for so many.
KEPT = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter says of one row.

    Attributes:
        kept: whether the row stays.
        score: that decided, in [0, 1]; None where there is none.
        model: name of the filter's model.
        revision: of it.
        threshold: that the score was held against.
        reason: why the row is not kept, or why it has no score, in words for the quarantine and the report; None else.
    """

    kept: bool
    score: float | None
    model: str
    revision: str
    threshold: float
    reason: str | None = None


class VideoRow(Protocol):
    """What is known of a row's real video and its caption: a `Triplet`, for one.

    `videopath`, `youtube_key`, `start` and `end` are taken where a row has them.
    """

    @property
    def source(self) -> str: ...

    @property
    def video_id(self) -> str: ...

    @property
    def caption(self) -> str: ...


def _check_threshold(threshold: float) -> float:
    if not 0 < threshold <= 1:
        raise SynvitaError("a threshold is out of range", found=threshold, expected="above 0, at most 1")
    return threshold


# -- what the caption entails -----------------------------------------------------------------------------


class NliFilter:
    """Drops contrast captions that the caption entails: P(entailment | premise t^r, hypothesis t^s) ≥ the threshold.

    Weights are read by the first `check`. A verdict does not depend on what else is in its batch: batches have one size
    and pairs are padded by their own length.

    Args:
        model: a folder or Hub id of any classifier of natural language inference in transformers, maybe with `@REVISION`.
        revision: commit, tag or branch on the Hub.
        threshold: at which a row is dropped.
        dtype: of the weights; None for bfloat16 on a GPU and float32 on a CPU.
        device: None for this process's GPU, or the CPU.
        batch_size: pairs in one batch. Another one may change a score's last bits.

    Raises:
        SynvitaError: no such model, or none of its labels says entailment.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        threshold: float = THRESHOLD,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        from .models import check_numbers

        check_numbers(batch_size=batch_size)
        self.threshold = _check_threshold(threshold)
        self._files = locate(model, revision)
        config = self._files.read(CONFIG)
        if config is None:
            raise self._files.not_found(f"no {CONFIG}")
        self._label = entailment_label(config, self._files.location)
        folder = self._files.folder
        self.model = self._files.location if folder is None else folder.resolve().name
        self._dtype = dtype or default_dtype([device] if device else None)
        self._device, self._batch_size = device, batch_size
        self._open: _Classifier | None = None

    @cached_property
    def revision(self) -> str:
        """Commit on the Hub, or digest of the folder's files."""
        return self._files.exact_revision()

    def record(self) -> dict[str, Any]:
        """What decides its verdicts, JSON-ready: part of a work key."""
        return {
            "version": FILTER_VERSION,
            "model": self.model,
            "revision": self.revision,
            "threshold": self.threshold,
            "dtype": self._dtype,
            "batch_size": self._batch_size,
        }

    def check(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each (caption, contrast caption), in order.

        A pair that the model cannot read (too long, a token of its own in a caption) is not kept.

        Raises:
            SynvitaError: the model cannot be loaded.
        """
        if not pairs:
            return []
        if self._open is None:
            self._open = _Classifier(self._files, self._label, self._dtype, self._device)
        read: list[tuple[int, Mapping[str, list[int]]]] = []
        verdicts: dict[int, Verdict] = {}
        for place, pair in enumerate(pairs):
            try:
                read.append((place, self._open.tokens(*pair)))
            except CaptionError as error:
                verdicts[place] = self._verdict(False, None, str(error).rstrip("."))
        scores = self._open.entailment([tokens for _, tokens in read], self._batch_size)
        for (place, _), score in zip(read, scores, strict=True):
            dropped = f"the caption entails the contrast caption: P = {score:.3f}"
            kept = score < self.threshold
            verdicts[place] = self._verdict(kept, score, None if kept else dropped)
        return [verdicts[place] for place in range(len(pairs))]

    def close(self) -> None:
        """Let go of the model."""
        if self._open is not None:
            _free(self._open.device)
            self._open = None

    def _verdict(self, kept: bool, score: float | None, reason: str | None) -> Verdict:
        return Verdict(kept, score, self.model, self.revision, self.threshold, reason)


def entailment_label(config: Mapping[str, Any], location: str) -> int:
    """The number of the label that says entailment, as the model's own settings name it.

    Args:
        config: its `config.json`.
        location: of the model, for the error.

    Raises:
        SynvitaError: no label says so, or several do; `LABEL_1` says nothing.
    """
    labels = config.get("id2label")
    names = {str(key): str(name) for key, name in labels.items()} if isinstance(labels, dict) else {}
    found = [
        key for key, name in names.items() if re.fullmatch(r"entail(?:ment|s|ed)?", name.strip().lower())
    ]
    if len(found) != 1 or not found[0].isdecimal():
        shown = ", ".join(f"{key}: {name}" for key, name in sorted(names.items())[:6]) or "no labels"
        raise SynvitaError(
            "no label of the model says entailment"
            if not found
            else "several labels of the model say entailment",
            file=location,
            found=shown,
            expected="a classifier of natural language inference, with a label 'entailment' in id2label",
            fix="Take another model, or write its labels into a copy of its config.json if you know them",
        )
    return int(found[0])


class _Classifier:
    """A loaded classifier of pairs of texts."""

    def __init__(self, files: ModelFiles, label: int, dtype: str, device: str | None) -> None:
        import torch
        import transformers

        from synvita_data.models.download import fetch
        from synvita_data.models.loading import check_complete, explained
        from synvita_data.models.runtime import pick_device, torch_dtype

        self.device: torch.device = torch.device(pick_device(device))
        weights, files = torch_dtype(dtype), fetch(files)
        with explained(files.location, unchanged=(MemoryError, torch.OutOfMemoryError)):
            given = {"revision": files.revision, "local_files_only": True}
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(files.location, **given)
            model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
                files.location, dtype=weights, output_loading_info=True, **given
            )
        check_complete(files.location, loading)
        self._model, self._label = model.eval().requires_grad_(False).to(self.device), label
        positions = getattr(model.config, "max_position_embeddings", None) or 1 << 30
        # RoBERTa counts positions from behind its padding.
        positions -= (model.config.pad_token_id or 0) + 1 if "roberta" in model.config.model_type else 0
        self._longest = min(positions, self._tokenizer.model_max_length)

    def tokens(self, premise: str, hypothesis: str) -> Mapping[str, list[int]]:
        """Input ids, and what else the model takes, of a pair.

        Raises:
            CaptionError: too long, or with a token that means something to the model.
        """
        from ..vqascore.base import check_caption, check_length

        for caption in (premise, hypothesis):
            check_caption(caption, self._tokenizer)
        tokens = dict(self._tokenizer(premise, hypothesis, truncation=False))
        check_length(len(tokens["input_ids"]), self._longest, hypothesis)
        return tokens

    def entailment(self, pairs: Sequence[Mapping[str, list[int]]], batch_size: int) -> list[float]:
        """P(entailment) of each pair."""
        import torch

        from synvita_data.models.runtime import one_cpu_thread

        found: list[float] = [0.0] * len(pairs)
        by_length: dict[int, list[int]] = {}
        for place, pair in enumerate(pairs):
            length = min(-(-len(pair["input_ids"]) // LENGTHS) * LENGTHS, self._longest)
            by_length.setdefault(length, []).append(place)
        with one_cpu_thread(str(self.device)), torch.inference_mode():
            for length, places in sorted(by_length.items()):
                for start in range(0, len(places), batch_size):
                    own = places[start : start + batch_size]
                    rows = [pairs[place] for place in own] + [pairs[own[0]]] * (batch_size - len(own))
                    for place, score in zip(own, self._of_batch(rows, length), strict=False):
                        found[place] = score
        return found

    def _of_batch(self, rows: Sequence[Mapping[str, list[int]]], length: int) -> list[float]:
        padded = self._tokenizer.pad(
            list(map(dict, rows)), padding="max_length", max_length=length, return_tensors="pt"
        )
        logits: torch.Tensor = self._model(**padded.to(self.device)).logits.float()
        alone = logits.shape[1] == 1  # one label that is there or not
        probabilities = logits.sigmoid() if alone else logits.softmax(-1)
        return probabilities[:, self._label].tolist()


# -- what one frame tells ---------------------------------------------------------------------------------


class FrameVqaFilter:
    """Keeps rows whose caption a model of single frames cannot confirm.

    The score is VQAScore of the real video's caption, frame by frame, averaged; a row whose score reaches the threshold is
    dropped. A row without a video, or with one that cannot be read, has no score: it is kept, unless `require_video`.

    Weights are read by the first `check` that finds a video.

    Args:
        model: a folder, Hub id or alias of a VQA model (`builders.vqascore`), maybe with `@REVISION`.
        real_root: folder of real videos.
        revision: commit, tag or branch on the Hub.
        threshold: at which a row is dropped.
        frames: of a video, at equal distances.
        require_video: do not keep what has no score.
        score: `reference` or `first-token`; None for what the model's makers use.
        dtype: of the weights; None for bfloat16 on a GPU and float32 on a CPU.
        device: None for this process's GPU, or the CPU.

    Raises:
        SynvitaError: no such model or folder, a number that cannot be.
    """

    def __init__(
        self,
        model: str,
        real_root: str | Path,
        *,
        revision: str | None = None,
        threshold: float = THRESHOLD,
        frames: int = 4,
        require_video: bool = False,
        score: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        self.threshold = _check_threshold(threshold)
        self._frames = FramePolicy(count=frames, rule="segment-midpoints")
        self._found = find_model(model, revision)
        self._score = score or self._found.default_score
        score_of([-1.0, -1.0], self._score)  # complains about an unknown one
        self._videos = RealVideos(real_root)
        self._require_video = require_video
        self._dtype = dtype or default_dtype([device] if device else None)
        self._device = device
        self._open: tuple[VqaScorer, MemoryLimit] | None = None
        self._kept: dict[tuple[Any, ...], tuple[float | None, str | None]] = {}

    @property
    def model(self) -> str:
        """Its name."""
        return self._found.label

    @property
    def revision(self) -> str:
        """Commit on the Hub, or digest of the folder's files."""
        return self._found.revision

    def record(self) -> dict[str, Any]:
        """What decides its verdicts, JSON-ready: part of a work key. The videos themselves are not in it."""
        return {
            "version": FILTER_VERSION,
            "model": self.model,
            "revision": self.revision,
            "threshold": self.threshold,
            "frames": self._frames.to_dict(),
            "score": self._score,
            "preprocessing": self._found.shape("reference"),
            "dtype": self._dtype,
            "require_video": self._require_video,
        }

    def check(self, rows: Sequence[VideoRow]) -> list[Verdict]:
        """A verdict for each row, in order. Rows of one video with one caption are looked at once.

        Raises:
            SynvitaError: the model cannot be loaded.
        """
        verdicts = []
        for row in rows:
            score, reason = self._score_of(row)
            kept = not self._require_video if score is None else score < self.threshold
            if score is not None and not kept:
                reason = f"one frame tells that the caption is true: {score:.3f}"
            verdicts.append(Verdict(kept, score, self.model, self.revision, self.threshold, reason))
        return verdicts

    def close(self) -> None:
        """Let go of the model."""
        if self._open is not None:
            device, self._open = self._open[0].device, None
            _free(device)

    def _score_of(self, row: VideoRow) -> tuple[float | None, str | None]:
        """The score of a row's caption, or why there is none."""
        names = ("videopath", "youtube_key", "start", "end")
        known = {name: getattr(row, name, None) for name in names}
        looked = self._videos.look(row.source, row.video_id, **known)
        if looked.video is None:
            return None, "no real video" if looked.error is None else str(looked.error).rstrip(".")
        start, end = looked.video.seconds(known["start"], known["end"])
        key = (str(looked.video.path), start, end, row.caption)
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self._of_video(looked.video.path, start, end, row.caption)
        return self._kept[key]

    def _of_video(
        self, path: Path, start: float | None, end: float | None, caption: str
    ) -> tuple[float | None, str | None]:
        from synvita_data.models.runtime import one_cpu_thread

        from ..vqascore.base import MemoryLimit, log_probs_that_fit

        try:
            frames = decode(path, self._frames, start, end)
            check_distinct(frames)
            if self._open is None:
                self._open = (open_scorer(self._found, dtype=self._dtype, device=self._device), MemoryLimit())
            scorer, limit = self._open
            prepared = scorer.prepare(frames, (caption,))
        except MissingBackendError:  # the machine's fault
            raise
        except (VideoError, CaptionError) as error:
            return None, str(error).rstrip(".")
        # One video with one caption is one batch: its score does not depend on what else is asked.
        with one_cpu_thread(str(scorer.device)):
            (found,) = log_probs_that_fit(scorer, [prepared], limit)
        scores = [score_of(look[0], self._score) for look in found.tolist()]
        return fsum(scores) / len(scores), None


def _free(device: "torch.device") -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
