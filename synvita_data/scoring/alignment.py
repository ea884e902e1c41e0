"""`AlignmentScorer`: N videos times M texts with an alignment model, for `synvita evaluate` and whoever asks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..captions import Text
from ..errors import ContextError, VideoError, choose
from ..models.alignment import AlignmentModel
from ..models.features import FeatureCache, KnownVideo
from ..models.loading import load_alignment_model
from ..models.resolve import find_checkpoint
from ..models.runtime import one_cpu_thread, read_ahead
from ..models.strategies import STRATEGIES, EncodedVideo
from ..models.videos import VideoPreparer
from ..video import FramePolicy
from . import ItemScores, ScoreKind, ScoringItem

_LEAST_BRANCH_TOKENS = 128


class AlignmentScorer:
    """Log-odds of Yes by a Video LLM. Make one with `open`.

    Each video is decoded and encoded once for all its texts, in threads ahead of the model, and scored by
    itself, on a CPU by one thread: a score does not depend on what else is scored, in which order, or by how
    many processes.

    Args:
        model: in evaluation mode, on its device.
        name, revision: of the checkpoint.
        frames: None for the family's policy.
        settings: recorded in results; the strategy is added as `way`.
        strategy: one of `STRATEGIES`, None for the fastest.
        workers: threads that decode ahead.
        cache: where features are kept, None for nowhere.
        branch_tokens: tokens of texts in one row; halved as often as a GPU's memory asks for it.
    """

    kind: ScoreKind = "log_odds"

    def __init__(
        self,
        model: AlignmentModel,
        name: str,
        revision: str,
        *,
        frames: FramePolicy | None = None,
        settings: Mapping[str, Any] | None = None,
        strategy: str | None = None,
        workers: int = 2,
        cache: FeatureCache | None = None,
        branch_tokens: int = 4096,
    ) -> None:
        if strategy is not None:
            choose(strategy, STRATEGIES, "strategy of scoring")
        self.model = model
        self.name = name
        self.revision = revision
        self.frames = frames or model.family.default_frames()
        self.settings: dict[str, Any] = {**(settings or {}), "way": strategy or "by counts"}
        self._strategy = strategy
        self._workers = workers
        self._preparer = VideoPreparer.of(model, frames=self.frames, cache=cache)
        self._branch_tokens = branch_tokens
        self._device = str(model.family.model.device)
        # Items whose work may be in line on the device while the next one is prepared for it.
        self._in_line = 1 if model.family.model.device.type == "cuda" else 0

    @property
    def prompt(self) -> str:
        return self.model.prompt.name

    @property
    def reads_times(self) -> str | None:
        """How scores depend on the times of the frames in the file, for keys of stored work."""
        return self.model.family.reads_times

    @property
    def behind_placeholder(self) -> dict[str, Any]:
        """`Prompter.behind_video`, for results."""
        return self.model.prompter.behind_video

    @classmethod
    def open(
        cls,
        name: str,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        adapter_revision: str | None = None,
        prompt: str | None = None,
        frames: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        device: str | None = None,
        device_map: str | None = None,
        attention: str = "split",
        placeholder_space: str | None = None,
        strategy: str | None = None,
        workers: int = 2,
        cache: Path | None = None,
        cache_bytes: int = 100 << 30,
    ) -> "AlignmentScorer":
        """Load a checkpoint to score with; see `loading` for its arguments.

        Args:
            name: Hub id or folder of a model, or of an adapter that names its base.
            prompt: by name; None for the one a fine-tune was trained with, or else the family's.
            frames: fields of `FramePolicy` to replace in the family's own; `count` makes `linspace` of a rate. A
                fine-tune's own count comes before the family's.
            placeholder_space: `processor` or `original`; None for the one a fine-tune was trained with, or else
                `processor`.
            cache: folder of a feature cache.
            cache_bytes: its bound.

        Raises:
            SynvitaError: whatever can be known to be wrong without a video, before weights are read.
        """
        # What a fine-tune was trained with comes before the family's own.
        checkpoint = find_checkpoint(
            name, revision=revision, adapter=adapter, adapter_revision=adapter_revision
        )
        prompt = prompt or checkpoint.trained_prompt
        space = placeholder_space or checkpoint.trained_space or "processor"
        frames = frames or {}
        if checkpoint.trained_frames is not None and not {"count", "fps"} & frames.keys():
            frames = {**frames, "count": checkpoint.trained_frames}
        model, version = load_alignment_model(
            checkpoint,
            prompt=prompt,
            dtype=dtype,
            device=device,
            device_map=device_map,
            attention=attention,
            placeholder_space=space,
        )
        # The settings that results record.
        policy = _changed(model.family.default_frames(), frames)
        settings = {"family": checkpoint.model_type, "dtype": dtype, "attention": attention}
        if checkpoint.adapter_name is not None:
            settings |= {"base": checkpoint.base, "adapter": checkpoint.adapter_name}
        if device_map is not None:
            settings["device_map"] = device_map
        if space != "processor":  # scores of earlier runs keep their keys
            settings["placeholder_space"] = space
        kept = None
        if cache is not None:
            kept = FeatureCache.of(model, version, cache, frames=policy, max_bytes=cache_bytes)
        shown = name if adapter is None else f"{name}+{adapter}"
        return cls(
            model,
            shown,
            version,
            frames=policy,
            settings=settings,
            strategy=strategy,
            workers=workers,
            cache=kept,
        )

    def check_texts(self, texts: Iterable[Text]) -> None:
        """Complain before long work about texts that cannot be scored with any video.

        Raises:
            CaptionError: a caption with a special token. ContextError: a prompt that is too long even with
                the smallest video (exact where a family's videos have one size, as Video-LLaVA's).
        """
        video = self._preparer.smallest()
        for text in dict.fromkeys(texts):
            self.model.prompter.tokens(text, None, video)

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        """Scores of each item, in order.

        On a GPU an item's scores are given when the next item's work is in line, so that the GPU does not wait
        for the host between two videos.

        Raises:
            CaptionError: a text that cannot be scored with any video (`check_texts` finds it before). What is
                wrong with one video only is an answer with `error`.
        """
        waiting: deque[Callable[[], ItemScores]] = deque()
        for item, read in read_ahead(items, self._preparer.known, self._workers):
            waiting.append(self._begin(item, read))
            while len(waiting) > self._in_line:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def _begin(self, item: ScoringItem, known: KnownVideo | VideoError) -> Callable[[], ItemScores]:
        """Start an item's work on the device; what is returned waits for it and gives the answer."""
        if isinstance(known, VideoError):
            failed = ItemScores(item.item_id, None, error=known)
            return lambda: failed
        try:
            with torch.inference_mode(), one_cpu_thread(self._device):
                if known.key is not None or (self._strategy != "plain" and known.video.features is None):
                    known = replace(known, video=self.model.encode(known.video.prepared))
                scores = _on_host(self._log_odds(known.video, item.texts))
        except ContextError as error:  # too many tokens with this video
            failed = ItemScores(item.item_id, None, error=error)
            return lambda: failed
        if known.key is not None and self._preparer.cache is not None:
            self._preparer.cache.put(known.key, known)
        details = {name: known.frames[name] for name in ("backend", "timestamps")}
        indices = tuple(known.frames["indices"])
        return lambda: ItemScores(item.item_id, scores(), indices, details)

    def _log_odds(self, video: EncodedVideo, texts: tuple[Text, ...]) -> torch.Tensor:
        """fp32 [texts]; in smaller rows when a GPU has no memory for these."""
        while True:
            try:
                return self.model(
                    [video],
                    [texts],
                    strategy=self._strategy,
                    branch_tokens=self._branch_tokens,
                ).log_odds
            except torch.OutOfMemoryError:
                if self._branch_tokens <= _LEAST_BRANCH_TOKENS or self._strategy in ("plain", "packed"):
                    raise
                self._branch_tokens //= 2
                self._strategy = "cached"  # its rows can be short; a single packed row cannot
                torch.cuda.empty_cache()


def _on_host(scores: torch.Tensor) -> Callable[[], np.ndarray]:
    """A copy of scores to the host, put in line behind the work that makes them; waited for when it is called."""
    if scores.device.type != "cuda":
        values: np.ndarray = scores.cpu().numpy()
        return lambda: values
    copy = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
    copy.copy_(scores, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(scores.device))

    def wait() -> np.ndarray:
        done.synchronize()
        found: np.ndarray = copy.numpy()
        return found

    return wait


def _changed(policy: FramePolicy, changes: Mapping[str, Any]) -> FramePolicy:
    """A family's frame policy with the fields a user asks for; a count takes the place of a rate."""
    if policy.fps is not None and changes.get("count") is not None:
        policy = replace(policy, fps=None, rule="linspace")
    return replace(policy, **changes)
