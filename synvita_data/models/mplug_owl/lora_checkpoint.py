"""LoRA checkpoints of VideoCon (owl-con) and SynViTA: a whole PEFT state dict, base and all, or an adapter alone.

The first is what their trainer saves (`pytorch_model.bin`, maybe in shards), the second what `save_pretrained` of
PEFT leaves beside it (`adapter_model`, with its settings). Names changed with PEFT's releases: `q_proj.weight` became
`q_proj.base_layer.weight` once the layer was wrapped. All are read. What comes out is an adapter as PEFT saves one
today, for the converted base.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ...errors import SynvitaError
from ...files import new_folder, read_json
from ..released.conversion import (
    PROVENANCE,
    SHARD_BYTES,
    merge_float32,
    provenance,
    write_adapter,
    write_json,
    write_shards,
)
from ..released.lora_settings import LANGUAGE_MODEL_LINEARS, LoraSettings, read_lora_settings
from ..released.weights import (
    ADAPTER,
    WHOLE_MODEL,
    folder_with,
    read_shapes,
    read_state_dict,
    used_files,
)
from .configuration import MODEL_TYPE
from .convert import NOT_FINITE
from .processing import MplugOwlProcessor
from .released import checked, read_config, without_computed

_PREFIX = re.compile(r"^(module\.)?base_model\.model\.")
_COMPILED = "_orig_mod."  # torch.compile's wrapper, wherever it is put around a module
_LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])\.(?:(?P<adapter>[^.]+)\.)?weight$")


@dataclass(frozen=True, slots=True)
class LoraCheckpoint:
    """A PEFT state dict taken apart.

    Attributes:
        base: weights under the base model's own names.
        lora: (module, "A" or "B") -> matrix.
        rank: r.
    """

    base: Mapping[str, Tensor]
    lora: Mapping[tuple[str, str], Tensor]
    rank: int

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(sorted({module for module, _ in self.lora}))


def take_apart(state: Mapping[str, Tensor], file: Path | None = None) -> LoraCheckpoint:
    """Part a PEFT state dict, with or without `.base_layer` and adapter names, into base and LoRA.

    Raises:
        SynvitaError: no LoRA in it, an A without its B, matrices of different ranks, two adapters, or a
            weight twice.
    """
    base: dict[str, Tensor] = {}
    lora: dict[tuple[str, str], Tensor] = {}
    adapters = set()

    def refuse(problem: str, found: object, expected: str) -> SynvitaError:
        return SynvitaError(problem, file=file, found=found, expected=expected)

    # Each weight is a matrix of LoRA, or the base's own under an old or a new name.
    for key, tensor in without_computed(state).items():
        plain = key.replace(_COMPILED, "")
        name = _PREFIX.sub("", plain)
        if name == plain:
            raise refuse("a weight is not named as PEFT names them", key, "base_model.model.…")
        if match := _LORA.match(name):
            adapters.add(match["adapter"])
            place: tuple[str, str] = (match["module"], match["side"])
            if place in lora:
                raise refuse("a weight is there twice", key, "one adapter")
            lora[place] = tensor
            continue
        name = name.replace(".base_layer.", ".")
        if name in base:
            raise refuse("a weight is there twice", key, "with or without base_layer, not both")
        base[name] = tensor
    if not lora:
        raise refuse(
            "no LoRA weights in a checkpoint", f"{len(base):,} other weights", "…lora_A… and …lora_B…"
        )
    if len(adapters) > 1:
        raise refuse("several adapters in a checkpoint", sorted(map(str, adapters)), "one")
    # Every A has its B, and all are of one rank.
    ranks = set()
    for module, side in lora:
        if (module, "B" if side == "A" else "A") not in lora:
            raise refuse("half an adapter", f"lora_{side} alone of {module}", "lora_A and lora_B")
        ranks.add(lora[module, side].shape[0 if side == "A" else 1])
    if len(ranks) > 1:
        raise refuse("matrices of different ranks", sorted(ranks), "one rank")
    return LoraCheckpoint(base, lora, ranks.pop())


# What holds the weights: the trainer's file comes first, for it has a copy of the base to compare.
FORMS = (*WHOLE_MODEL, *ADAPTER)
ALPHA = 32  # in VideoCon's and SynViTA's scripts


def read_lora(source: Path) -> tuple[LoraCheckpoint, LoraSettings | None, Path]:
    """A released LoRA in whichever form it is there, its settings, and the folder that they are in.

    Args:
        source: the folder, or one with a single `checkpoint-…` that has the files.

    Raises:
        SynvitaError: no such files, or settings that do not fit the matrices.
    """
    folder = folder_with(source, FORMS)
    checkpoint = take_apart(read_state_dict(folder, FORMS), folder)
    settings = read_lora_settings(folder)
    if settings is not None:
        settings.check_rank(checkpoint.rank, folder)
    return checkpoint, settings, folder


def _alpha(asked: float | None, settings: LoraSettings | None, folder: Path) -> float:
    """LoRA's alpha: the settings' own where there are any.

    Raises:
        SynvitaError: another one is asked for.
    """
    if settings is None:
        return ALPHA if asked is None else asked
    if asked not in (None, settings.alpha):
        raise SynvitaError(
            "the adapter's settings have another alpha",
            file=folder,
            found=settings.alpha,
            expected=asked,
            fix="Leave --alpha out",
        )
    return settings.alpha


def convert_lora(
    source: str | Path,
    out: str | Path,
    base: str | Path,
    *,
    alpha: float | None = None,
    dropout: float = 0.05,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Convert a released LoRA into an adapter of PEFT for `base`, all of it or nothing.

    A checkpoint's copy of the base is compared with `base` number by number, so that an adapter never meets
    another base than its own. An adapter alone has no copy, which is said; its layers are compared by shape.

    Args:
        source: folder with `pytorch_model.bin` (or its shards), or with `adapter_model`; or with a single
            `checkpoint-…` that has them.
        out: the folder to make.
        base: folder that `convert_mplug_owl` made.
        alpha: LoRA's; None for that of the adapter's settings, or else 32 as in VideoCon's and SynViTA's scripts,
            because a state dict does not hold it.
        dropout: of further training.
        say: takes lines on the progress.

    Returns:
        What was written: `modules` with an adapter, its `rank`, and how many weights of the base were `compared`.

    Raises:
        SynvitaError: `out` is there already, the base differs from the checkpoint's (`merge_lora` needs none),
            or LoRA on layers that the base does not have.
    """
    source, out, base = Path(source), Path(out), Path(base)
    with new_folder(out) as folder:
        checkpoint, settings, place = read_lora(source)
        alpha = _alpha(alpha, settings, place)
        shapes = _shapes(base)
        _check_places(checkpoint, shapes, source)
        compared = _check_base(checkpoint.base, base, shapes, source)
        if compared:
            say(f"{compared:,} weights of the base are those of {base}")
        else:
            say(
                f"0 weights of the base compared: {place} holds an adapter alone. Its {len(checkpoint.modules)} layers "
                f"have the shapes of {base}; whether it was trained from these weights cannot be seen"
            )
        # The usual layers are named by the pattern that training uses, others one by one.
        modules = checkpoint.modules
        usual = {name.removesuffix(".weight") for name in shapes if _is_target(name)} == set(modules)
        write_adapter(
            folder,
            checkpoint.lora,
            rank=checkpoint.rank,
            alpha=alpha,
            dropout=dropout,
            targets=LANGUAGE_MODEL_LINEARS if usual else list(modules),
            base=str(base.resolve()),
        )
        write_json(folder / PROVENANCE, {**provenance(place, used_files(place, FORMS)), "compared": compared})
    say(f"Wrote {out}: LoRA of rank {checkpoint.rank} and alpha {alpha:g} on {len(modules)} layers")
    return {"modules": len(modules), "rank": checkpoint.rank, "compared": compared}


def merge_lora(
    source: str | Path,
    out: str | Path,
    base: str | Path,
    *,
    alpha: float | None = None,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Make a whole model of a PEFT state dict: its own copy of the base with LoRA added, W + alpha / r · B A.

    For a checkpoint whose base is not to be had, or was changed. Sums are fp32, weights keep their dtype. An adapter
    alone has no copy of the base: it is merged into `base`.

    Args:
        source: folder with the `pytorch_model.bin`.
        out: the folder to make.
        base: a converted folder, for settings, tokenizer and processor, and for weights that are not in the checkpoint.
        alpha: see `convert_lora`.
        shard_bytes: of a file of weights, at most.
        say: takes lines on the progress.

    Returns:
        What was written: `modules` with an adapter, and its `rank`.

    Raises:
        SynvitaError: `out` is there already, or the checkpoint holds a part of the base.
    """
    source, out, base = Path(source), Path(out), Path(base)
    with new_folder(out) as folder:
        checkpoint, settings, place = read_lora(source)
        scale = _alpha(alpha, settings, place) / checkpoint.rank
        config = read_config(base)
        # An adapter alone is merged into the base that is named.
        own = checkpoint.base or read_state_dict(base)
        _check_places(checkpoint, {name: (base, list(t.shape)) for name, t in own.items()}, source)
        weights = checked(own, config, source)

        def add(name: str, weight: Tensor) -> Tensor:
            module = name.removesuffix(".weight")
            if (module, "A") not in checkpoint.lora:
                return weight
            return merge_float32(weight, checkpoint.lora[module, "A"], checkpoint.lora[module, "B"], scale)

        write_shards(folder, weights, shard_bytes, add, advice=NOT_FINITE)
        config.architectures = ["MplugOwlForConditionalGeneration"]
        config.dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
        config.save_pretrained(folder)
        MplugOwlProcessor.from_pretrained(base).save_pretrained(folder)
    say(
        f"Wrote {out}: a whole model, LoRA of rank {checkpoint.rank} and alpha {scale * checkpoint.rank:g} merged"
    )
    return {"modules": len(checkpoint.modules), "rank": checkpoint.rank}


def _is_target(name: str) -> bool:
    return re.fullmatch(LANGUAGE_MODEL_LINEARS, name.removesuffix(".weight")) is not None


def _shapes(base: Path) -> dict[str, tuple[Path, list[int]]]:
    """File and shape of each weight of a converted folder."""
    settings = read_json(base / "config.json", "a base model")
    files = sorted(base.glob("model*.safetensors"))
    if settings.get("model_type") != MODEL_TYPE or not files:
        raise SynvitaError(
            "not a base model of this adapter",
            file=base,
            found=f"{settings.get('model_type')}, {len(files)} files of weights",
            expected="a folder that `synvita convert mplug-owl` wrote",
        )
    return {name: (path, shape) for path in files for name, shape in read_shapes(path).items()}


def _check_places(
    checkpoint: LoraCheckpoint, shapes: Mapping[str, tuple[Path, list[int]]], source: Path
) -> None:
    for (module, side), tensor in checkpoint.lora.items():
        _, shape = shapes.get(f"{module}.weight", (None, None))
        if shape is None or tensor.shape[side == "A"] != shape[side == "A"] or len(shape) != 2:
            raise SynvitaError(
                "an adapter is for another base model",
                file=source,
                found=f"lora_{side} {list(tensor.shape)} on {module}",
                expected="no such layer" if shape is None else f"a layer of {shape}",
            )


def _check_base(
    base: Mapping[str, Tensor], folder: Path, shapes: Mapping[str, tuple[Path, list[int]]], source: Path
) -> int:
    """How many weights are there and equal.

    Raises:
        SynvitaError: one differs, or is none of the base's.
    """
    for name, tensor in sorted(base.items()):
        path, shape = shapes.get(name, (None, None))
        same = path is not None and list(tensor.shape) == shape
        if path is not None and same:
            with safe_open(path, framework="pt") as file:
                own = file.get_tensor(name)
            # Saved in one dtype and released in another: compared in the coarser of the two.
            coarser = min(own.dtype, tensor.dtype, key=lambda kind: kind.itemsize)
            same = torch.equal(own.to(coarser), tensor.to(coarser))
        if not same:
            raise SynvitaError(
                "a checkpoint's base is not this one",
                file=source,
                found=f"{name} {list(tensor.shape)}",
                expected=f"the same numbers as in {folder}" if shape is not None else "no such weight",
                fix="Convert the base that it was trained from, or make a whole model of it with --merge",
            )
    return len(base)
