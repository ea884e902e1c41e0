"""From the MODEL of a command to a scorer."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import SynvitaError
from .chance import ChanceScorer
from .protocol import Scorer


def open_scorer(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    frames: Mapping[str, Any] | None = None,
    workers: int = 2,
) -> Scorer:
    """The scorer of a model.

    Args:
        model: `chance`, or the Hub id or folder of a CLIP or SigLIP of transformers.
        frames: fields of `FramePolicy` to replace in the model's own, such as `{"count": 4}`.

    Raises:
        SynvitaError: no such model, or one of a kind that cannot be scored with; frames of an impossible kind.
    """
    if model == "chance":
        return ChanceScorer(seed)
    kind = _model_type(model, revision)
    from .clip import DEFAULT_FRAMES, MODEL_TYPES, ClipScorer

    if kind not in MODEL_TYPES:
        raise SynvitaError(
            "this kind of model cannot be scored with",
            file=model,
            found=f"model_type {kind!r}",
            expected=f"chance, or a model of type {', '.join(MODEL_TYPES)}",
            fix="Score it elsewhere and evaluate the file with --predictions",
        )
    return ClipScorer(
        model,
        revision=revision,
        frames=replace(DEFAULT_FRAMES, **(frames or {})),
        device=device,
        dtype=dtype,
        workers=workers,
    )


def _model_type(model: str, revision: str | None) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    path = Path(model) / "config.json"
    try:
        if not Path(model).is_dir():
            path = Path(hf_hub_download(model, "config.json", revision=revision))
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, HfHubHTTPError, HFValidationError) as error:
        raise SynvitaError(
            "no such model",
            file=model,
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="chance, a folder with a config.json, or a model of the Hub",
        ) from error
