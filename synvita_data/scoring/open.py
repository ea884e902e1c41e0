"""From the MODEL of a command to a scorer."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import SynvitaError
from .chance import ChanceScorer
from .protocol import Scorer

ADAPTER = "adapter"
ADAPTER_CONFIG = "adapter_config.json"


def open_scorer(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    frames: Mapping[str, Any] | None = None,
    workers: int = 2,
    video_llm: Mapping[str, Any] | None = None,
) -> Scorer:
    """The scorer of a model.

    Args:
        model: `chance`, or the Hub id or folder of a CLIP, SigLIP or Video LLM of transformers, or of an
            adapter of PEFT for a Video LLM.
        frames: fields of `FramePolicy` to replace in the model's own, such as `{"count": 4}`.
        video_llm: what else `AlignmentScorer.open` takes, such as `prompt`, `adapter`, `way`, `cache`.

    Raises:
        SynvitaError: no such model, or one of a kind that cannot be scored with; frames of an impossible kind.
    """
    if model == "chance":
        _refuse(model, video_llm)
        return ChanceScorer(seed)
    kind = _model_type(model, revision)
    from .clip import DEFAULT_FRAMES, MODEL_TYPES, ClipScorer

    if kind not in MODEL_TYPES:
        from ..models import FAMILIES
        from .alignment import AlignmentScorer

        if kind in FAMILIES or kind == ADAPTER:
            return AlignmentScorer.open(
                model,
                revision=revision,
                frames=frames,
                device=device,
                dtype=dtype,
                workers=workers,
                **(video_llm or {}),
            )
        raise SynvitaError(
            "this kind of model cannot be scored with",
            file=model,
            found=f"model_type {kind!r}",
            expected=f"chance, or a model of type {', '.join([*FAMILIES, *MODEL_TYPES])}",
            fix="Score it elsewhere and evaluate the file with --predictions",
        )
    _refuse(model, video_llm)
    return ClipScorer(
        model,
        revision=revision,
        frames=replace(DEFAULT_FRAMES, **(frames or {})),
        device=device,
        dtype=dtype,
        workers=workers,
    )


def _refuse(model: str, options: Mapping[str, Any] | None) -> None:
    if options:
        raise SynvitaError(
            "these options are for Video LLMs", file=model, found=", ".join(options), fix="Leave them out"
        )


def _model_type(model: str, revision: str | None) -> str:
    """`model_type` of the model's `config.json`; ADAPTER where there is an adapter's settings in its place."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    def find(file: str) -> Path:
        if Path(model).is_dir():
            return Path(model) / file
        return Path(hf_hub_download(model, file, revision=revision))

    try:
        try:
            return str(json.loads(find("config.json").read_text(encoding="utf-8"))["model_type"])
        except (FileNotFoundError, EntryNotFoundError):
            if find(ADAPTER_CONFIG).is_file():
                return ADAPTER
            raise
    except (OSError, ValueError, KeyError, TypeError, HfHubHTTPError, HFValidationError) as error:
        raise SynvitaError(
            "no such model",
            file=model,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="chance, a folder with a config.json, a model of the Hub, or an adapter",
        ) from error
