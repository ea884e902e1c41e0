"""Reading CLIP-FlanT5's released checkpoint layout.

A checkpoint is one `config.json` (T5's settings with `mm_…` ones) and one state dict, whole or in shards, `.bin` or
safetensors: T5's weights under their own names, `vision_tower.vision_tower.vision_model.…`, and
`mm_projector.0/2.…`. The vision tower may be left out: it is then that of `mm_vision_tower`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Config
from transformers.utils import cached_file

from synvita_data.errors import SynvitaError
from synvita_data.files import resolve_under
from synvita_data.models.loading import check_complete

from .clip_flant5 import ClipFlanT5

_VISION = "vision_tower.vision_tower.vision_model."
_PROJECTOR = "mm_projector."
_FILES = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "model.safetensors",
    "pytorch_model.bin",
)


def load_clip_flant5(name: str, *, revision: str | None, dtype: torch.dtype, device: str) -> ClipFlanT5:
    """The model of a folder or Hub id, in evaluation mode.

    Shards are read one after the other, cast and put in their place, so that a checkpoint in fp32 needs its
    own size in `dtype` and one shard more.

    Raises:
        SynvitaError: no such checkpoint, or weights that are missing or of another shape.
    """
    settings = json.loads(Path(_need(name, "config.json", revision)).read_text(encoding="utf-8"))
    model_type = settings.pop("model_type", None)
    try:
        config = T5Config(**settings)
        tower = _tower(name, str(settings["mm_vision_tower"]))
        vision = CLIPVisionConfig.from_pretrained(tower)
        with torch.device("meta"):
            model = ClipFlanT5(config, vision)
    except (KeyError, AttributeError, TypeError) as error:
        raise SynvitaError(
            "not the settings of a CLIP-FlanT5",
            file=name,
            found=f"model_type {model_type!r}, {type(error).__name__} {error}",
            expected="T5's settings with mm_vision_tower, mm_hidden_size and mm_vision_select_layer",
        ) from error
    model.to(dtype)  # of meta tensors: no memory
    expected = {key: value.shape for key, value in model.state_dict().items()}
    placed: set[str] = set()
    for shard in _shards(name, revision):
        part = {
            new: tensor.to(device=device, dtype=dtype)
            for key, tensor in _tensors(shard).items()
            if (new := _renamed(key, expected)) is not None
        }
        _place(model, part, expected, shard)
        placed |= part.keys()
    if not any(key.startswith("vision.") for key in placed):
        kind: Any = CLIPVisionModel  # the types of from_pretrained do not know that it may give two
        tower_model, loading = kind.from_pretrained(tower, dtype=dtype, output_loading_info=True)
        check_complete(tower, loading)
        part = {f"vision.{key}": value.to(device) for key, value in tower_model.state_dict().items()}
        _place(model, part, expected, tower)
        placed |= part.keys()
    # Both stacks read the shared embeddings. The head is left alone: Flan-T5's is its own.
    model.t5.encoder.embed_tokens = model.t5.decoder.embed_tokens = model.t5.shared
    _check_whole(model, name)
    _materialize_buffers(model, device)
    return model.eval().requires_grad_(False)


def _renamed(key: str, expected: Mapping[str, Any]) -> str | None:
    """Our name of a weight in a checkpoint; None for what is a copy or no weight."""
    if key == "embed_tokens.weight" or key.endswith((".embed_tokens.weight", "position_ids")):
        return None
    if key.startswith(_VISION):
        plain = f"vision.{key[len(_VISION) :]}"
        return plain if plain in expected else f"vision.vision_model.{key[len(_VISION) :]}"
    if key.startswith(_PROJECTOR):
        return f"projector.{key[len(_PROJECTOR) :]}"
    return f"t5.{key}"


def _place(model: ClipFlanT5, part: Mapping[str, Tensor], expected: Mapping[str, Any], file: str) -> None:
    wrong = [key for key, value in part.items() if expected.get(key) != value.shape]
    if wrong:
        raise SynvitaError(
            "a checkpoint holds weights of another model",
            file=file,
            found=f"{wrong[0]} {list(part[wrong[0]].shape)}",
            expected=f"{list(expected[wrong[0]])}" if wrong[0] in expected else "no such weight",
        )
    model.load_state_dict(part, strict=False, assign=True)


def _check_whole(model: ClipFlanT5, name: str) -> None:
    missing = [key for key, weight in model.named_parameters() if weight.is_meta]
    if missing:
        raise SynvitaError(
            "the checkpoint does not hold all weights of its model",
            file=name,
            found=f"missing: {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}",
            fix="Save or download the model again",
        )


def _materialize_buffers(model: ClipFlanT5, device: str) -> None:
    """Position ids are no weights: they are counted here, where the model was made without memory."""
    for key, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            owner, _, attribute = key.rpartition(".")
            if attribute != "position_ids":
                raise AssertionError(f"a buffer of CLIP-FlanT5 is unknown: {key}")
            ids = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
            model.get_submodule(owner).register_buffer(attribute, ids, persistent=False)


def _tower(name: str, tower: str) -> str:
    """Where the vision tower's settings are: a folder inside the checkpoint's, or its own name."""
    if Path(name).is_dir() and not Path(tower).is_absolute():
        inside = resolve_under(Path(name), tower)
        if inside.is_dir():
            return str(inside)
    return tower


def _shards(name: str, revision: str | None) -> Iterator[str]:
    for file in _FILES:
        found = _find(name, file, revision)
        if found is None:
            continue
        if not file.endswith(".index.json"):
            yield found
            return
        index = json.loads(Path(found).read_text(encoding="utf-8"))
        for shard in sorted(set(index["weight_map"].values())):
            yield _need(name, shard, revision)
        return
    raise SynvitaError("the checkpoint holds no weights", file=name, expected=" or ".join(_FILES))


def _tensors(file: str) -> dict[str, Tensor]:
    try:
        if file.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(file)
        weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return weights
    except Exception as error:  # SafetensorError, RuntimeError, UnpicklingError, OSError
        raise SynvitaError(
            "a checkpoint's weights cannot be read",
            file=file,
            found=(str(error) or type(error).__name__).splitlines()[0],
            expected="safetensors, or a .bin that holds nothing but tensors",
            fix="It may have been cut off: download it again",
        ) from error


def _find(name: str, file: str, revision: str | None) -> str | None:
    if Path(name).is_dir():
        path = resolve_under(Path(name), file) if not Path(name, file).is_symlink() else Path(name, file)
        return str(path) if path.is_file() else None
    found: str | None = cached_file(
        name,
        file,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=True,
    )
    return found


def _need(name: str, file: str, revision: str | None) -> str:
    found = _find(name, file, revision)
    if found is None:
        raise SynvitaError("a checkpoint lacks a file", file=name, expected=file, fix="Download it again")
    return found
