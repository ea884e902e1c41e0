"""`AlignmentScorer`: N videos times M texts with an alignment model, for `synvita evaluate` and whoever asks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..captions import Text
from ..errors import ContextError, SynvitaError, VideoError, choose
from ..models.alignment import AlignmentModel
from ..models.families import get_family
from ..models.features import FeatureCache, KnownVideo
from ..models.loading import load_alignment_model
from ..models.prompting import share_questions
from ..models.resolve import find_checkpoint
from ..models.runtime import one_cpu_thread, read_ahead
from ..models.strategies import STRATEGIES, EncodedVideo
from ..models.videos import VideoPreparer
from ..video import FramePolicy
from ..video.controls import Control
from . import ItemScores, ScoreKind, ScoringItem, refuse_questions
from .released import FLIPS, READOUTS, choose_options, released_probability

_LEAST_BRANCH_TOKENS = 128


class AlignmentScorer:
    """Log-odds of Yes by a Video LLM, or of an answer where a text has a question. Make one with `open`.

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
        flips: `none` or `seed0`: which rows of a task are scored against the mirror image of their video.
        readout: `float32` for log-odds in fp32, `released` for a probability in the model's dtype, of captions only.
        control: what is taken away from every video; None for nothing. `text` needs a model that is `text_only`, and
            opens no video.

    Attributes:
        set_by_mode: options that a mode has set, by name.
    """

    kind: ScoreKind

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
        flips: str = "none",
        readout: str = "float32",
        control: Control | None = None,
    ) -> None:
        if strategy is not None:
            choose(strategy, STRATEGIES, "strategy of scoring")
        if choose(flips, FLIPS, "flips") != "none":
            model.family.check_mirrored()
        if model.family.text_only != (control is not None and not control.watches):
            raise SynvitaError(
                "the control `text` and a model that is `text_only` go together",
                found=f"control {control and control.name}, text_only={model.family.text_only}",
            )
        self.control = control
        self.flips = flips
        self.kind = "log_odds" if choose(readout, READOUTS, "readout") == "float32" else "probability"
        self.set_by_mode: dict[str, Any] = {}
        self.model = model
        self.name = name
        self.revision = revision
        frames = frames or model.family.default_frames()
        self.frames = None if model.family.text_only else frames
        self.settings: dict[str, Any] = {**(settings or {}), "way": strategy or "by counts"}
        if control is not None:
            self.settings |= control.settings
        self._strategy = strategy
        self._workers = workers
        self._preparer = VideoPreparer(
            model.family, model.prompt, frames=frames, cache=cache, control=control
        )
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
    def behind_placeholder(self) -> dict[str, Any] | None:
        """`Prompter.behind_video`, for results; None without a video."""
        return None if self.model.family.text_only else self.model.prompter.behind_video

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """`Family.preprocessing`, for results; None without a video."""
        return None if self.model.family.text_only else self.model.family.preprocessing

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
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | None = None,
        attention: str = "split",
        placeholder_space: str | None = None,
        preprocess: str | None = None,
        flips: str | None = None,
        readout: str | None = None,
        merge: str | None = None,
        mode: str = "clean",
        strategy: str | None = None,
        workers: int = 2,
        cache: Path | None = None,
        cache_bytes: int = 100 << 30,
        control: Control | None = None,
    ) -> "AlignmentScorer":
        """Load a checkpoint to score with; see `loading` for its arguments.

        What is given comes before what `mode` sets, that before what a fine-tune was trained with, and that before
        the family's own.

        Args:
            name: Hub id or folder of a model, or of an adapter that names its base.
            prompt: by name; None for the one a fine-tune was trained with, or else the family's.
            frames: fields of `FramePolicy` to replace in the family's own; `count` makes `linspace` of a rate. A
                fine-tune's own count comes before the family's.
            dtype: of the weights; None for `float32`.
            placeholder_space: `processor` or `original`; None for the one a fine-tune was trained with, or else
                `processor`.
            preprocess: `processor` or `languagebind`; None for the one a fine-tune was trained with, or else
                `processor`.
            flips: `none` or `seed0`; None for `none`.
            readout: `float32` or `released`; None for `float32`.
            merge: `none`, `unmerged` or `float16`, what becomes of an adapter; None for `none`.
            mode: `clean`, or `released` for all of this as SynViTA's released code evaluates the family.
            cache: folder of a feature cache.
            cache_bytes: its bound.
            control: what is taken away from every video; None for nothing.

        Raises:
            SynvitaError: whatever can be known to be wrong without a video, before weights are read.
        """
        checkpoint = find_checkpoint(
            name, revision=revision, adapter=adapter, adapter_revision=adapter_revision
        )
        frames = frames or {}
        chosen = choose_options(
            mode,
            get_family(checkpoint.model_type),
            name,
            given={
                "prompt": prompt,
                "dtype": dtype,
                "placeholder_space": placeholder_space,
                "preprocess": preprocess,
                "flips": flips,
                "readout": readout,
                "merge": merge,
                "backend": frames.get("backend"),
            },
            trained={
                "prompt": checkpoint.trained_prompt,
                "placeholder_space": checkpoint.trained_space,
                "preprocess": checkpoint.trained_preprocess,
            },
        )
        options = chosen.options
        if "backend" in options:
            frames = {**frames, "backend": options["backend"]}
        if checkpoint.trained_frames is not None and not {"count", "fps"} & frames.keys():
            frames = {**frames, "count": checkpoint.trained_frames}
        model, version = load_alignment_model(
            checkpoint,
            prompt=options.get("prompt"),
            dtype=options["dtype"],
            device=device,
            device_map=device_map,
            attention=attention,
            placeholder_space=options["placeholder_space"],
            preprocess=options["preprocess"],
            merge=options["merge"],
            text_only=control is not None and not control.watches,
        )
        # The settings that results record. What is as it is by default is left out: earlier scores keep their keys.
        policy = model.family.default_frames().changed(**frames)
        settings: dict[str, Any] = {
            "family": checkpoint.model_type,
            "dtype": options["dtype"],
            "attention": attention,
        }
        if checkpoint.adapter_name is not None:
            settings |= {"base": checkpoint.base, "adapter": checkpoint.adapter_name}
        if device_map is not None:
            settings["device_map"] = device_map
        if options["placeholder_space"] != "processor":
            settings["placeholder_space"] = options["placeholder_space"]
        if model.family.preprocess != "processor":
            pixels = model.family.preprocessing
            settings["preprocess"] = pixels.pop("name")
            settings |= {f"preprocess_{key}": value for key, value in pixels.items()}
        settings |= chosen.unusual()
        kept = None
        if cache is not None and not model.family.text_only:
            kept = FeatureCache.of(
                model,
                version,
                cache,
                frames=policy,
                max_bytes=cache_bytes,
                merge=options["merge"],
            )
        shown = name if adapter is None else f"{name}+{adapter}"
        scorer = cls(
            model,
            shown,
            version,
            frames=policy,
            settings=settings,
            strategy=strategy,
            workers=workers,
            cache=kept,
            flips=options["flips"],
            readout=options["readout"],
            control=control,
        )
        scorer.set_by_mode = chosen.set_by_mode
        return scorer

    def check_texts(self, texts: Iterable[Text]) -> None:
        """Complain before long work about texts that cannot be scored with any video.

        Raises:
            CaptionError: a caption or question with a special token. ContextError: a prompt that is too long even with
                the smallest video (exact where a family's videos have one size, as Video-LLaVA's). TokenizerError:
                answers to a question that are not one token each. SynvitaError: a question for the released read-out.
        """
        video = self._preparer.smallest()
        asked = list(dict.fromkeys(texts))
        self._check_readout(asked)
        for place in share_questions(asked)[0]:
            self.model.prompter.tokens(asked[place], None, video)

    def _check_readout(self, texts: Iterable[Text]) -> None:
        if self.kind == "probability":
            refuse_questions(
                texts,
                self.name,
                problem="the released read-out is P(Yes) of the entailment question; the released code asks no other",
                fix="Read the answers in fp32 (`--readout float32`)",
            )

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        """Scores of each item, in order.

        On a GPU an item's scores are given when the next item's work is in line, so that the GPU does not wait
        for the host between two videos.

        Raises:
            SynvitaError: a text that cannot be scored with any video (`check_texts` finds it before). What is
                wrong with one video only is an answer with `error`.
        """
        waiting: deque[Callable[[], ItemScores]] = deque()
        for item, read in read_ahead(items, self._read, self._workers):
            waiting.append(self._begin(item, read))
            while len(waiting) > self._in_line:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def _read(self, item: ScoringItem) -> dict[bool, KnownVideo]:
        """The item's video as it is, mirrored, or both, as its texts ask for."""
        return self._preparer.sides(item, item.sides)

    def _begin(
        self, item: ScoringItem, known: dict[bool, KnownVideo] | VideoError
    ) -> Callable[[], ItemScores]:
        """Start an item's work on the device; what is returned waits for it and gives the answer."""
        if isinstance(known, VideoError):
            failed = ItemScores(item.item_id, None, error=known)
            return lambda: failed
        self._check_readout(item.texts)
        sides = item.sides
        scores: dict[bool, Callable[[], np.ndarray]] = {}
        try:
            with torch.inference_mode(), one_cpu_thread(self._device):
                for side, places in sides.items():
                    own = known[side]
                    if own.key is not None or (self._strategy != "plain" and own.video.features is None):
                        own = replace(own, video=self.model.encode(own.video.prepared))
                    scores[side] = _on_host(
                        self._scores(own.video, tuple(item.texts[place] for place in places))
                    )
                    if own.key is not None and self._preparer.cache is not None:
                        self._preparer.cache.put(own.key, own)
        except ContextError as error:  # too many tokens with this video
            failed = ItemScores(item.item_id, None, error=error)
            return lambda: failed
        frames = next(iter(known.values())).frames
        details: dict[str, Any] = {name: frames[name] for name in ("backend", "timestamps") if name in frames}

        def answer() -> ItemScores:
            values = np.empty(len(item.texts), np.float32)
            for side, places in sides.items():
                values[list(places)] = scores[side]()
            return ItemScores(item.item_id, values, tuple(frames.get("indices", ())), details)

        return answer

    def _scores(self, video: EncodedVideo, texts: tuple[Text, ...]) -> torch.Tensor:
        """fp32 [texts]; in smaller rows when a GPU has no memory for these."""
        while True:
            try:
                output = self.model(
                    [video],
                    [texts],
                    strategy=self._strategy,
                    vocabulary=int(self.kind == "probability"),
                    branch_tokens=self._branch_tokens,
                )
                if output.vocabulary_logits is None:
                    return output.log_odds
                logits = output.vocabulary_logits[:, 0, : self.model.family.released_vocabulary]
                return released_probability(logits, *self.model.prompter.answer_ids).float()
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
