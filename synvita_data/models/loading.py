"""From a `Checkpoint` to an `AlignmentModel`: a whole model, or a base with an adapter of PEFT.

All that can be wrong is looked for before weights are read: the model is first made without memory
(torch's meta device), which is enough for the tokenizer, the template, Yes and No, and an adapter's shapes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..display import get_logger
from ..errors import SynvitaError, choose, first_line
from ..files import read_json
from ..hub.problems import HubRequest, hub_problem
from .download import fetch_settings, fetch_weights
from .processors import load_processor
from .resolve import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONVERT_LORA, Checkpoint, ModelFiles
from .runtime import pick_device, torch_dtype, without_noise

if TYPE_CHECKING:
    from .alignment import AlignmentModel

_PEFT = "base_model.model."  # before the names in an adapter's file
_log = get_logger(__name__)
# What becomes of an adapter. `none`: it stays beside its base, in fp32. `unmerged`: the same in the base's dtype.
# `float16`: the weights are loaded in float16, it is merged into them there, and the sum gets its dtype.
MERGES = ("none", "unmerged", "float16")


@contextmanager
def explained(
    name: str, advice: str | None = None, *, unchanged: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Whatever goes wrong while a checkpoint is read becomes an error that names it.

    Args:
        name: of the checkpoint.
        advice: what to do; None for what helps with most.
        unchanged: what goes on as it is, beside our own errors.

    Raises:
        SynvitaError: in place of any other exception.
    """
    passed: tuple[type[BaseException], ...] = (SynvitaError, *unchanged)
    try:
        yield
    except passed:
        raise
    except Exception as error:  # OSError, ValueError, SafetensorError, RuntimeError for shapes, …
        raise hub_problem(error, HubRequest(name, "the model cannot be loaded")) or SynvitaError(
            "cannot load the model",
            file=name,
            found=first_line(error),
            fix=advice or "Check the name, and that all files of the model are whole",
        ) from error


def check_complete(name: str, loading: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that lacks weights: transformers would fill them with random numbers.

    Args:
        name: of the checkpoint.
        loading: what `from_pretrained(…, output_loading_info=True)` says.

    Raises:
        SynvitaError: a weight is missing or has another shape.
    """
    for what in ("missing_keys", "mismatched_keys", "error_msgs"):
        if wrong := sorted(map(str, loading.get(what) or ())):
            raise SynvitaError(
                "the checkpoint does not hold all weights of its model",
                file=name,
                found=f"{what.replace('_', ' ')}: {', '.join(wrong[:3])}{', …' if len(wrong) > 3 else ''}",
                fix="Save or download the model again",
            )


def loaded_revision(name: str, model: Any, revision: str | None = None) -> str:
    """The exact revision of a model that was loaded: a branch may have moved since.

    Args:
        name: folder or Hub id.
        model: of transformers.
        revision: by which it was asked for, where the model does not know its commit.
    """
    commit = getattr(model.config, "_commit_hash", None)
    return ModelFiles(name, commit or revision).exact_revision()


def load_alignment_model(
    checkpoint: Checkpoint,
    *,
    prompt: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    device_map: str | None = None,
    attention: str = "split",
    placeholder_space: str = "processor",
    preprocess: str = "processor",
    merge: str = "none",
    text_only: bool = False,
) -> "tuple[AlignmentModel, str]":
    """The model, in evaluation mode, and its revision.

    Args:
        checkpoint: as `resolve.find_checkpoint` gives it.
        prompt: by name; None for the family's.
        dtype: of the weights; log-odds are fp32 whatever it is.
        device: None for this process's GPU, or the CPU.
        device_map: of transformers (`auto`, `balanced`): spread one model over several devices; `device` is not
            used then.
        attention: `split`, `sdpa` or `eager`.
        placeholder_space: `processor` or `original`.
        preprocess: `processor` or `languagebind`.
        merge: what becomes of an adapter, one of MERGES. `float16` is how the released Video-LLaVA is evaluated,
            `unmerged` in bfloat16 the released mPLUG-Owl.
        text_only: prompts without their video part.

    Raises:
        SynvitaError: whatever is wrong with family, processor, prompt, adapter or weights.
    """
    import torch

    from .alignment import AlignmentModel
    from .families import get_family

    # What can be checked without any file.
    family = get_family(checkpoint.model_type)
    weights = torch_dtype(dtype)
    fix = "`none` keeps an adapter in fp32; `float16` and `unmerged` are of the released Video-LLaVA and mPLUG-Owl"
    merged = choose(merge, MERGES, "merge", fix=fix) == "float16"
    place = None if device_map else pick_device(device)
    kind = family.network_class()
    files = fetch_settings(ModelFiles(checkpoint.base, checkpoint.revision))
    name, revision = files.location, files.revision
    with explained(name, family.advice):
        processor, video_settings = load_processor(name, revision)
        config = kind.config_class.from_pretrained(files.source, revision=revision, local_files_only=True)
        with torch.device("meta"):
            empty = kind(config)
    # An empty model shows what is wrong with prompt, processor and adapter, before gigabytes are read.
    asked: dict[str, Any] = {
        "prompt": prompt,
        "attention": attention,
        "placeholder_space": placeholder_space,
        "preprocess": preprocess,
        "text_only": text_only,
    }
    AlignmentModel(empty, processor, **asked)
    if checkpoint.adapter is not None:
        _check_adapter(checkpoint, empty)
    del empty
    fetch_weights(files)
    with explained(name, family.advice):
        model, loading = kind.from_pretrained(
            files.source,
            revision=revision,
            local_files_only=True,
            dtype=torch.float16 if merged else weights,
            device_map=device_map,
            output_loading_info=True,
        )
    check_complete(name, loading)
    model.name_or_path = model.config.name_or_path = name  # not where the package lies on this machine
    version = loaded_revision(name, model, revision)
    if video_settings is not None:  # scores and features with other settings are others
        version = f"{version}~{video_settings}"
    if place is not None:
        model.to(place)
    if checkpoint.adapter is not None:
        model = with_adapter(model, checkpoint, in_fp32=merge != "unmerged")
        if merged:
            model = merge_released(model, str(checkpoint.adapter_name))
        version = f"{version}+{checkpoint.adapter_revision}"
    if merged:
        _cast_weights(model, weights)
    return AlignmentModel(model, processor, **asked).eval(), version


def with_adapter(model: Any, checkpoint: Checkpoint, *, trainable: bool = False, in_fp32: bool = True) -> Any:
    """The model with the adapter of a checkpoint, on no other layers than those that the adapter has weights of.

    An adapter for the language model may say its target layers by plain names such as `q_proj`, which the vision
    towers have too. PEFT would put new pairs there, and with `init_lora_weights: false` in the adapter's settings
    they are random and change every score; otherwise the towers would count as adapted for nothing.

    Args:
        model: the base.
        checkpoint: with an adapter.
        trainable: leave the adapter's weights trainable.
        in_fp32: the adapter's weights, where its base has fewer bits; else in the base's dtype.

    Raises:
        SynvitaError: the adapter cannot be read, or holds a weight that is not a finite number.
    """
    from peft import PeftConfig, PeftModel
    from peft.tuners.tuners_utils import check_target_module_exists

    from .released.weights import read_shapes

    assert checkpoint.adapter is not None
    with explained(str(checkpoint.adapter_name)):
        config: Any = PeftConfig.from_pretrained(str(checkpoint.adapter))
        own = {
            key.removeprefix(_PEFT).partition(".lora_")[0]
            for key in read_shapes(checkpoint.adapter / ADAPTER_WEIGHTS)
            if ".lora_" in key
        }
        if own and isinstance(config.target_modules, list | set):
            hit = {name for name, _ in model.named_modules() if check_target_module_exists(config, name)}
            if others := sorted(hit - own):
                _log.warning(
                    "%s: it has weights of %d layers; its target names fit %d more, such as %s, which stay as they are",
                    checkpoint.adapter_name,
                    len(own),
                    len(others),
                    others[0],
                )
                config.target_modules = own
        with without_noise():
            adapted = PeftModel.from_pretrained(
                model,
                checkpoint.adapter,
                config=config,
                is_trainable=trainable,
                autocast_adapter_dtype=in_fp32,
            )
        for name, weight in adapted.named_parameters():
            if "lora_" in name and not bool(weight.isfinite().all()):
                raise SynvitaError(
                    "an adapter holds a weight that is not a finite number",
                    file=checkpoint.adapter_name,
                    found=name,
                    fix="Save or download it again",
                )
        return adapted


def merge_released(model: Any, name: str) -> Any:
    """The base with the adapter in its weights, as the released Video-LLaVA is merged (`released.conversion.merge_exact`).

    Not by PEFT, whose later releases round the product first: a third of the weights then differ in their last bit.

    Args:
        model: a `PeftModel` with LoRA layers on a base in float16; it is taken apart.
        name: of the adapter, for errors.

    Returns:
        The stock model inside it.

    Raises:
        SynvitaError: the adapter is something else than plain LoRA on linear layers.
    """
    import torch
    from peft.tuners.lora import Linear

    from .released.conversion import merge_exact

    with torch.no_grad():
        adapted: list[tuple[str, Any]] = [
            each for each in model.named_modules() if hasattr(each[1], "lora_A")
        ]
        for place, layer in adapted:
            plain = isinstance(layer, Linear) and not (layer.fan_in_fan_out or any(layer.use_dora.values()))
            if not plain:
                raise SynvitaError(
                    "an adapter cannot be merged as the release does",
                    file=name,
                    found=f"{type(layer).__name__} at {place}",
                    expected="plain LoRA on linear layers",
                    fix="Leave merge out: the adapter then stays beside its base",
                )
            weight = layer.get_base_layer().weight
            for adapter in layer.active_adapters:
                low, high = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
                weight.copy_(merge_exact(weight, low, high, layer.scaling[adapter]))
    return model.unload()


def _cast_weights(model: Any, dtype: Any) -> None:
    """Turn weights in float16 into another dtype, in place; fp32 buffers (rotary frequencies) stay as they are, where
    `model.to(dtype)` would round them too."""
    import torch

    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype == torch.float16:
            tensor.data = tensor.data.to(dtype)


def _check_adapter(checkpoint: Checkpoint, model: Any) -> None:
    """Every weight of the adapter has a layer of its shape, and every LoRA both its matrices, of the settings' rank.

    Reads names and shapes only. PEFT itself passes over a name that it does not know, with a warning at most, and the
    scores are then the base's.

    Raises:
        SynvitaError: a layer that the base does not have, or of another size; another rank; half a LoRA, or none.
    """
    from .released.weights import read_shapes

    assert checkpoint.adapter is not None

    def refuse(
        problem: str, found: str, expected: str, fix: str = "Save or download it again"
    ) -> SynvitaError:
        return SynvitaError(problem, file=checkpoint.adapter_name, found=found, expected=expected, fix=fix)

    settings = read_json(checkpoint.adapter / ADAPTER_CONFIG, "an adapter's settings")
    ranks = {settings.get("r"), *(settings.get("rank_pattern") or {}).values()}
    shapes = read_shapes(checkpoint.adapter / ADAPTER_WEIGHTS)
    layers = dict(model.named_modules())
    found_sides: dict[str, set[str]] = {}
    for key, shape in shapes.items():
        layer, _, part = key.removeprefix(_PEFT).partition(".lora_")
        side = {"A": "in_features", "B": "out_features"}.get(part[:1])
        if side is None:
            continue  # modules saved whole, magnitudes: PEFT checks those itself
        size, rank = (shape[1], shape[0]) if side == "in_features" else shape
        expected = getattr(layers.get(layer), side, None)
        if expected != size:
            raise refuse(
                "an adapter is for another base model",
                f"{layer} with {side} {size}",
                "no such layer" if expected is None else f"{side} {expected} of {checkpoint.base}",
                CONVERT_LORA
                if layer.startswith("model.layers.")  # as LLaVA's own code names them
                else "Name the adapter alone: it knows its base",
            )
        if not key.startswith(_PEFT):
            raise refuse("an adapter's weights are not named as PEFT names them", key, f"{_PEFT}{key}")
        if rank not in ranks:
            raise refuse(
                "an adapter is of another rank than its settings say",
                f"r = {settings.get('r')}",
                f"{rank}, the rank of its matrices",
                "Settings and weights are of different adapters: download both again",
            )
        found_sides.setdefault(layer, set()).add(part[0])
    for layer, sides in found_sides.items():
        if len(sides) == 1:
            raise refuse("half an adapter", f"lora_{sides.pop()} alone of {layer}", "lora_A and lora_B")
    if settings.get("peft_type") == "LORA" and not any(".lora_" in key for key in shapes):
        raise refuse(
            "an adapter holds no LoRA", ", ".join(sorted(shapes)[:3]) or "no weights", "…lora_A… and …lora_B…"
        )
