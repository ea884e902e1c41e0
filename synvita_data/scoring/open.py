"""From the MODEL of a command to a scorer, and the scorer `chance`: the floor that every model must beat."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SynvitaError
from ..extras import require
from ..hub.reach import say_if_renamed
from ..models.families import FAMILIES
from ..models.resolve import ADAPTER_CONFIG, CONFIG, locate, refuse_llava_layout
from ..video.controls import Control
from . import ItemScores, ScoreKind, Scorer, ScoringItem
from .clip import DEFAULT_FRAMES, MODEL_TYPES, ClipScorer

# Models that look at no video and are asked nothing.
BASELINES = ("chance", "words")


def refuse_misspelt(model: str) -> None:
    """Complain about what is nearly `chance` or `words`, and neither a folder nor a repository's name.

    Raises:
        SynvitaError: as it says.
    """
    near = difflib.get_close_matches(model, BASELINES, n=1)
    if near and near[0] != model and not Path(model).exists():
        raise SynvitaError(
            "unknown model",
            found=model,
            expected=f"{', '.join(BASELINES)}, a folder, or a Hub id owner/name",
            fix=f"Did you mean {near[0]}?",
        )


def open_scorer(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    seed: int = 0,
    frames: Mapping[str, Any] | None = None,
    workers: int = 2,
    video_llm: Mapping[str, Any] | None = None,
    control: str | None = None,
) -> Scorer:
    """The scorer of a model.

    Args:
        model: `chance`, `words`, or the Hub id or folder of a CLIP, SigLIP or Video LLM of transformers, or of an
            adapter of PEFT for a Video LLM.
        revision: commit, tag or branch on the Hub.
        device: None for this process's GPU, or the CPU.
        dtype: of the weights; None for `float32`, or what a mode sets.
        seed: of `chance`, of the folds of `words`, and of the control `shuffle`.
        workers: threads that decode ahead of the model.
        frames: fields of `FramePolicy` to replace in the model's own, such as `{"count": 4}`.
        video_llm: what else `AlignmentScorer.open` takes, such as `prompt`, `adapter`, `strategy`, `cache`, `mode`,
            `preprocess`, `flips`, `readout`, `merge`.
        control: one of `video.controls.CONTROLS`: what is taken away from every video; None for nothing.

    Raises:
        SynvitaError: the model cannot be found, or is of a kind that cannot be scored with; frames of an
            impossible kind; a control that means nothing for the model.
    """
    taken = None if control is None else Control(control, seed)
    if model in BASELINES:
        if taken is not None:
            raise SynvitaError(
                f"{model} looks at no video, so nothing can be taken away from it",
                found=f"control {control}",
                fix="Leave the control out",
            )
        _refuse(model, video_llm)
        asked = dict(frames or {}) | ({} if revision is None else {"revision": revision})
        if asked:
            raise SynvitaError(
                f"{model} has no weights and looks at no video",
                found=", ".join(f"{key} {value}" for key, value in asked.items()),
                fix="Leave that out",
            )
        if model == "chance":
            return ChanceScorer(seed)
        from .words import WordsScorer

        return WordsScorer(seed)
    refuse_misspelt(model)
    require("score", "torch", "transformers", what=f"scoring with {model}")
    files = locate(model, revision, aliases=dict.fromkeys(BASELINES, model))
    config = files.read(CONFIG) or {}
    refuse_llava_layout(files, config)
    kind = None if (found := config.get("model_type")) is None else str(found)
    if kind is None and files.find(ADAPTER_CONFIG) is None:
        raise files.not_found("no model_type in a config.json")
    say_if_renamed(files.location)
    loading: dict[str, Any] = {
        "revision": files.revision,
        "device": device,
        "dtype": dtype,
        "workers": workers,
        "control": taken,
    }
    if kind is None or kind in FAMILIES:
        from .alignment import AlignmentScorer

        return AlignmentScorer.open(files.location, frames=frames, **loading, **(video_llm or {}))
    if kind in MODEL_TYPES:
        _refuse(model, video_llm)
        loading["dtype"] = dtype or "float32"
        return ClipScorer(files.location, frames=DEFAULT_FRAMES.changed(**(frames or {})), **loading)
    raise SynvitaError(
        "this kind of model cannot be scored with",
        file=model,
        found=f"model_type {kind!r}",
        expected=f"chance, words, or a model of type {', '.join([*FAMILIES, *MODEL_TYPES])}",
        fix="Score it elsewhere and evaluate the file with --predictions",
    )


def _refuse(model: str, options: Mapping[str, Any] | None) -> None:
    if options:
        named = ["way" if name == "strategy" else name for name in options]  # as the command calls it
        raise SynvitaError(
            "these options are for Video LLMs", file=model, found=", ".join(named), fix="Leave them out"
        )


class ChanceScorer:
    """Uniform numbers in [0, 1), fixed by seed, video and text; no video is opened.

    The same pair gets the same number in any order, process or batch.
    """

    name = "chance"
    kind: ScoreKind = "probability"
    frames = None
    prompt = None

    def __init__(self, seed: int = 0) -> None:
        self.revision = f"1-seed{seed}"
        self.settings: dict[str, Any] = {"seed": seed}
        self._seed = seed

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]:
        for item in items:
            scores = [self._uniform(item.video_id, text.caption, text.hidden) for text in item.texts]
            yield ItemScores(item.item_id, np.asarray(scores, dtype=np.float64))

    def _uniform(self, *what: Any) -> float:
        digest = hashlib.sha256(json.dumps([self._seed, *what], ensure_ascii=False).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56
