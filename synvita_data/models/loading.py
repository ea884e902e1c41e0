"""From a name to an `AlignmentModel`: a full checkpoint, an adapter of PEFT with its base, or both named.

All that can be wrong is looked for before weights are read: the model is first made without memory
(torch's meta device), which is enough for the tokenizer, the template, Yes and No, and an adapter's shapes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..captions.placeholders import PLACEHOLDER_SPACES
from ..captions.prompts import PROMPTS
from ..errors import HubError, SynvitaError
from ..files import sha256_file
from .alignment import AlignmentModel
from .families import get_family
from .runtime import pick_device, torch_dtype
from .weights_file import check_complete, explained, model_revision

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TRAINING_ARGUMENTS = "training_args.json"  # which `SynViTATrainer` leaves beside a model


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What to load.

    Attributes:
        base: Hub id or folder of the whole model. revision: of `base` on the Hub.
        model_type: of the base. adapter: folder with the adapter's files, None without one.
        adapter_name: what the user called it. adapter_revision: digest of the adapter's weights and settings.
        trained_prompt, trained_frames: the wording and the number of frames that it was fine-tuned with by
            `SynViTATrainer`; None where that is not known, or was the family's own.
        trained_space: its `placeholder_space`, None where that is not known.
    """

    base: str
    revision: str | None
    model_type: str
    adapter: Path | None = None
    adapter_name: str | None = None
    adapter_revision: str | None = None
    trained_prompt: str | None = None
    trained_frames: int | None = None
    trained_space: str | None = None


def find_checkpoint(
    name: str, *, revision: str | None = None, adapter: str | None = None, adapter_revision: str | None = None
) -> Checkpoint:
    """What `name` stands for: a whole model, or an adapter whose settings name its base.

    Args:
        name: Hub id or folder. revision: commit, tag or branch of `name` on the Hub.
        adapter: Hub id or folder of an adapter for `name`. adapter_revision: of it.

    Raises:
        SynvitaError: neither a model nor an adapter is there, an adapter without safetensors or for another
            base.
    """
    config = _read_json(name, "config.json", revision)
    if config is not None and "model_type" in config:
        base = Checkpoint(name, revision, str(config["model_type"]), **_trained(name, revision))
        return base if adapter is None else _with_adapter(base, adapter, adapter_revision, named=True)
    settings = _read_json(name, ADAPTER_CONFIG, revision)
    if settings is None or adapter is not None:
        raise SynvitaError(
            "no such model",
            file=name,
            found="no config.json" + ("" if settings is None else f", but {ADAPTER_CONFIG}"),
            expected="a folder with a config.json, a model of the Hub, or an adapter of PEFT by itself",
        )
    found = settings.get("base_model_name_or_path")
    config = _read_json(str(found), "config.json", settings.get("revision")) if found else None
    if config is None or "model_type" not in config:
        raise SynvitaError(
            "an adapter's base model is not there",
            file=name,
            found=repr(found),
            expected="a folder or a model of the Hub in base_model_name_or_path",
            fix="Name the base as MODEL and this as its adapter",
        )
    base = Checkpoint(str(found), settings.get("revision"), str(config["model_type"]))
    return _with_adapter(base, name, revision, named=False)


def load_alignment_model(
    checkpoint: Checkpoint,
    *,
    prompt: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    device_map: str | None = None,
    attention: str = "split",
    placeholder_space: str = "processor",
) -> tuple[AlignmentModel, str]:
    """The model, in evaluation mode, and its revision.

    Args:
        prompt: by name; None for the family's. dtype: of the weights; log-odds are fp32 whatever it is.
        device: None for this process's GPU, or the CPU. device_map: of transformers (`auto`, `balanced`):
            spread one model over several devices; `device` is not used then.
        attention: `split`, `sdpa` or `eager`. placeholder_space: `processor` or `original`.

    Raises:
        SynvitaError: whatever is wrong with family, processor, prompt, adapter or weights.
    """
    import torch
    import transformers

    family = get_family(checkpoint.model_type)
    weights = torch_dtype(dtype)
    place = None if device_map else pick_device(device)
    kind = family.network_class()
    name, revision = checkpoint.base, checkpoint.revision
    with explained(name, family.advice):
        processor = transformers.AutoProcessor.from_pretrained(name, revision=revision)
        config = kind.config_class.from_pretrained(name, revision=revision)
        with torch.device("meta"):
            empty = kind(config)
    asked: dict[str, Any] = {"prompt": prompt, "attention": attention, "placeholder_space": placeholder_space}
    AlignmentModel(empty, processor, **asked)
    if checkpoint.adapter is not None:
        _check_adapter(checkpoint, empty)
    del empty
    with explained(name, family.advice):
        model, loading = kind.from_pretrained(
            name, revision=revision, dtype=weights, device_map=device_map, output_loading_info=True
        )
    check_complete(name, loading)
    version = model_revision(name, model)
    if place is not None:
        model.to(place)
    if checkpoint.adapter is not None:
        from peft import PeftModel

        with explained(str(checkpoint.adapter_name)):
            model = PeftModel.from_pretrained(model, checkpoint.adapter)
        version = f"{version}+{checkpoint.adapter_revision}"
    return AlignmentModel(model, processor, **asked).eval(), version


def _with_adapter(base: Checkpoint, name: str, revision: str | None, *, named: bool) -> Checkpoint:
    """`named`: the user named the base too, which may be a folder with what the adapter knows as a Hub id."""
    settings = _read_json(name, ADAPTER_CONFIG, revision)
    weights = _fetch(name, ADAPTER_WEIGHTS, revision)
    if settings is None or weights is None:
        raise SynvitaError(
            "no such adapter",
            file=name,
            found=f"no {ADAPTER_CONFIG if settings is None else ADAPTER_WEIGHTS}",
            expected=f"{ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, as PEFT saves them",
        )
    trained_on = settings.get("base_model_name_or_path")
    if named and trained_on and not Path(base.base).is_dir() and trained_on != base.base:
        raise SynvitaError(
            "an adapter is for another base model",
            file=name,
            found=f"trained on {trained_on}",
            expected=base.base,
            fix="Name the adapter alone: it knows its base",
        )
    config = _fetch(name, ADAPTER_CONFIG, revision)
    assert config is not None
    digest = f"{sha256_file(config)[:8]}{sha256_file(weights)[:8]}"
    return Checkpoint(
        base.base, base.revision, base.model_type, weights.parent, name, digest, **_trained(name, revision)
    )


def _trained(name: str, revision: str | None) -> dict[str, Any]:
    """What `SynViTATrainer` noted beside a model: scores with another wording are another model's scores."""
    try:
        noted = _read_json(name, TRAINING_ARGUMENTS, revision) or {}
    except SynvitaError:  # the Hub cannot be asked, and what is cached has no such file
        return {}
    prompt, frames = noted.get("prompt"), noted.get("frames")
    space = noted.get("placeholder_space")
    return {
        "trained_prompt": prompt if prompt in PROMPTS else None,
        "trained_frames": frames if isinstance(frames, int) else None,
        "trained_space": space if space in PLACEHOLDER_SPACES else None,
    }


def _check_adapter(checkpoint: Checkpoint, model: Any) -> None:
    """Every weight of the adapter has a layer of its shape; reads names and shapes only.

    Raises:
        SynvitaError: a layer that the base does not have, or of another size.
    """
    from safetensors import SafetensorError, safe_open

    assert checkpoint.adapter is not None
    layers = dict(model.named_modules())
    path = checkpoint.adapter / ADAPTER_WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise SynvitaError(
            "an adapter's weights cannot be read",
            file=path,
            found=str(error),
            expected="a whole safetensors file",
            fix="It may have been cut off: fetch or save it again",
        ) from error
    for key, shape in shapes.items():
        layer, _, part = key.removeprefix("base_model.model.").partition(".lora_")
        side = {"A": "in_features", "B": "out_features"}.get(part[:1])
        if side is None:
            continue  # modules saved whole, magnitudes: PEFT checks those itself
        size = shape[1] if side == "in_features" else shape[0]
        expected = getattr(layers.get(layer), side, None)
        if expected != size:
            raise SynvitaError(
                "an adapter is for another base model",
                file=checkpoint.adapter_name,
                found=f"{layer} with {side} {size}",
                expected="no such layer" if expected is None else f"{side} {expected} of {checkpoint.base}",
                fix="Name the adapter alone: it knows its base",
            )


def _read_json(name: str, file: str, revision: str | None) -> dict[str, Any] | None:
    path = _fetch(name, file, revision)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SynvitaError("a model's settings cannot be read", file=path, found=str(error)) from error
    return content if isinstance(content, dict) else None


def _fetch(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a folder or of a repository of the Hub; None where it is not in there.

    Raises:
        HubError: the Hub cannot be asked, or `name` is neither a folder nor a name of the Hub.
    """
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except EntryNotFoundError as error:
        if type(error).__name__ != "LocalEntryNotFoundError":
            return None
        raise _no_model(name, error) from error
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise _no_model(name, error) from error


def _no_model(name: str, error: Exception) -> HubError:
    return HubError(
        "no such model",
        file=name,
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        expected="a folder with a config.json, or a model of the Hub",
    )
