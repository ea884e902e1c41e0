"""SynViTA's LoRA on Video-LLaVA in LLaVA's layout: `adapter_model` of peft 0.4 and `non_lora_trainables.bin`.

It was trained on vicuna-7b-v1.5 with the pretrained projector, which its settings name, and is evaluated on
Video-LLaVA-7B. So the base is always named, and the adapter's own word for it is never used.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, VideoLlavaForConditionalGeneration

from ...errors import SynvitaError, choose
from ...files import new_folder, read_json
from ..released import ADAPTER_CONFIG, CONFIG, TRAINING_ARGUMENTS
from ..released.conversion import (
    PROVENANCE,
    SHARD_BYTES,
    merge_exact,
    merge_float32,
    provenance,
    usable,
    write_adapter,
    write_json,
    write_shards,
)
from ..released.lora_settings import LANGUAGE_MODEL_LINEARS, LoraSettings, read_lora_settings
from ..released.weights import ADAPTER, folder_with, read_state_dict, read_tensors, used_files
from .configuration import MODEL_TYPE
from .convert import ASKED
from .modeling import VideoLlavaOriginalForConditionalGeneration
from .names import beside_lora, lora_place

BESIDE = "non_lora_trainables.bin"
# How W + alpha / r · B A is rounded: once from fp32, or as the released evaluation does in fp16.
ROUNDINGS: Mapping[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "float32": merge_float32,
    "released": merge_exact,
}
_PORT = "video_llava"
TRAINED_ON = (
    "trained on lmsys/vicuna-7b-v1.5 with the projector of LanguageBind/Video-LLaVA-Pretrain-7B; the released "
    "evaluation puts it on LanguageBind/Video-LLaVA-7B@aecae02"
)


@dataclass(frozen=True, slots=True)
class LlavaLora:
    """An adapter in LLaVA's layout, read.

    Attributes:
        matrices: (our name of the module, "A" or "B") -> matrix.
        settings: rank, alpha, targets.
        beside: what was trained beside it, by our names.
        folder: with the files.
    """

    matrices: Mapping[tuple[str, str], Tensor]
    settings: LoraSettings
    beside: Mapping[str, Tensor]
    folder: Path

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(sorted({module for module, _ in self.matrices}))

    def pair(self, module: str) -> tuple[Tensor, Tensor]:
        """A and B."""
        return self.matrices[module, "A"], self.matrices[module, "B"]


def read_llava_lora(source: Path) -> LlavaLora:
    """The adapter of a folder, or of the single `checkpoint-…` in it.

    Args:
        source: the folder.

    Raises:
        SynvitaError: no adapter, several checkpoints, settings that are missing or of another rank, a name that is
            no LoRA of a LLaMA, an A without its B, numbers that are not finite, or B all zero.
    """
    folder = folder_with(source, ADAPTER)
    settings = read_lora_settings(folder)
    if settings is None:
        raise SynvitaError(
            "an adapter without its settings",
            file=folder,
            expected=f"{ADAPTER_CONFIG} with r and lora_alpha",
            fix="Download the whole repository",
        )
    matrices: dict[tuple[str, str], Tensor] = {}
    for key, tensor in read_state_dict(folder, ADAPTER).items():
        try:
            place = lora_place(key)
        except KeyError:
            raise SynvitaError(
                "not a weight of a LoRA in LLaVA's layout",
                file=folder,
                found=key,
                expected="base_model.model.model.layers.N.….lora_A.weight",
            ) from None
        if place in matrices:
            raise SynvitaError("a weight is there twice", file=folder, found=key)
        matrices[place] = tensor
    _check_matrices(matrices, settings, folder)
    beside = folder / BESIDE
    trained = beside_lora(read_tensors(beside), beside) if beside.is_file() else {}
    return LlavaLora(matrices, settings, trained, folder)


def _check_matrices(matrices: Mapping[tuple[str, str], Tensor], settings: LoraSettings, folder: Path) -> None:
    """Complain about matrices that are no LoRA of these settings; see `read_llava_lora`."""
    if not matrices:
        raise SynvitaError("no LoRA weights in a checkpoint", file=folder)
    for module, side in sorted(matrices):
        other = "B" if side == "A" else "A"
        if (module, other) not in matrices:
            raise SynvitaError(
                "half an adapter",
                file=folder,
                found=f"lora_{side} alone of {module}",
                expected="lora_A and lora_B",
            )
        tensor = matrices[module, side]
        if tensor.ndim != 2:
            raise SynvitaError(
                "not a matrix of a LoRA", file=folder, found=f"lora_{side} {list(tensor.shape)} of {module}"
            )
        settings.check_rank(tensor.shape[0 if side == "A" else 1], folder)
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise SynvitaError(
                "an adapter holds a weight that is not a finite number",
                file=folder,
                found=f"lora_{side} of {module}, {str(tensor.dtype).removeprefix('torch.')}",
                fix="Download it again",
            )
    if not any(bool(tensor.any()) for (_, side), tensor in matrices.items() if side == "B"):
        raise SynvitaError(
            "an adapter that changes nothing",
            file=folder,
            found="every lora_B is zero, as before training",
            fix="Take the checkpoint from the end of training",
        )


def convert_video_llava_lora(
    source: str | Path,
    out: str | Path,
    base: str | Path,
    *,
    base_name: str | None = None,
    merge: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Convert a LoRA in LLaVA's layout into an adapter of PEFT for a converted base, or into a whole model.

    Args:
        source: folder with `adapter_model.bin` (or `.safetensors`) and `adapter_config.json`, or with a single
            `checkpoint-…` that has them.
        out: the folder to make; all of it appears, or nothing.
        base: folder with the base's `config.json`, and for `merge` its weights: what `convert_video_llava` made.
        base_name: by which the adapter is to name its base; None for the folder.
        merge: None for an adapter. For a whole model, how sums are rounded: `float32` (once, to the base's dtype)
            or `released` (in fp16, as the released evaluation does; see `merge_exact`).
        shard_bytes: of a file of weights of a whole model, at most.
        say: takes lines on the progress.

    Returns:
        What was written: `modules` with an adapter, its `rank` and `alpha`.

    Raises:
        SynvitaError: `out` is there already; the adapter or its settings are wrong (`read_llava_lora`); a base that
            has other layers, or is not converted; weights were trained beside the adapter, and it is not merged.
    """
    source, out, base = Path(source), Path(out), Path(base)
    if merge is not None:
        choose(merge, ROUNDINGS, "rounding of a merge")
    with new_folder(out) as folder:
        lora = read_llava_lora(source)
        network = _empty_network(base)
        pattern = _check_places(lora, network)
        frozen = [name for name in lora.beside if "_tower." in name]
        if frozen:
            say(
                f"{len(frozen):,} weights of towers in {BESIDE} are left out: the released evaluation loads its own"
            )
        beside = {name: tensor for name, tensor in lora.beside.items() if name not in frozen}
        _check_beside(beside, network, lora.folder / BESIDE, merged=merge is not None)
        if base_name is None:
            base_name = str(base.resolve())
        if network.config.model_type == _PORT:
            say(
                f"{base_name} is transformers' port, whose video tower has no attention over time: scores will not be the "
                "released ones"
            )
        rank, alpha = lora.settings.rank, lora.settings.alpha
        if merge is None:
            write_adapter(
                folder,
                lora.matrices,
                rank=rank,
                alpha=alpha,
                dropout=lora.settings.dropout,
                targets=pattern,
                base=base_name,
            )
        else:
            _write_merged(folder, lora, beside, base, merge, shard_bytes)
        write_json(folder / TRAINING_ARGUMENTS, {**ASKED, "frames": _frames(network.config)})
        files = used_files(lora.folder, ADAPTER) + [lora.folder / ADAPTER_CONFIG]
        files += [lora.folder / BESIDE] if (lora.folder / BESIDE).is_file() else []
        made_of = {
            "what": "a LoRA on Video-LLaVA in LLaVA's layout",
            "adapter": provenance(lora.folder, files),
            "named_base": lora.settings.base,
            "note": TRAINED_ON,
            "base": Path(base_name).name if Path(base_name).is_absolute() else base_name,
            "merge": merge,
        }
        write_json(folder / PROVENANCE, made_of)
    what = "a whole model, with LoRA" if merge else "LoRA"
    say(
        f"Wrote {out}: {what} of rank {rank} and alpha {alpha:g} on {len(lora.modules)} layers, for {base_name}"
    )
    return {"modules": len(lora.modules), "rank": rank, "alpha": alpha}


def _empty_network(base: Path) -> Any:
    """The base without memory: its layers and their sizes.

    Raises:
        SynvitaError: not a base for this adapter.
    """
    model_type = read_json(base / CONFIG, "a base model").get("model_type")
    if model_type not in (MODEL_TYPE, _PORT):
        raise SynvitaError(
            "not a base model of this adapter",
            file=base,
            found=f"model_type {model_type!r}",
            expected="a folder that `synvita convert video-llava` wrote",
            fix="Convert LanguageBind/Video-LLaVA-7B first: `synvita convert video-llava DIR OUT`"
            if model_type == "llava"
            else "Name another base",
        )
    kind: Any = (
        VideoLlavaOriginalForConditionalGeneration
        if model_type == MODEL_TYPE
        else VideoLlavaForConditionalGeneration
    )
    with usable(base / CONFIG):
        config = AutoConfig.from_pretrained(base)
        with torch.device("meta"):
            return kind(config)


def _check_places(lora: LlavaLora, network: Any) -> str | list[str]:
    """What `target_modules` is to say, once every matrix has its layer.

    Raises:
        SynvitaError: a layer that the base does not have, of another size, or one that should have an adapter.
    """
    linears = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    for module, side in sorted(lora.matrices):
        layer, tensor = linears.get(module), lora.matrices[module, side]
        size = None if layer is None else layer.in_features if side == "A" else layer.out_features
        if size != tensor.shape[1 if side == "A" else 0]:
            raise SynvitaError(
                "an adapter is for another base model",
                file=lora.folder,
                found=f"lora_{side} {list(tensor.shape)} on {module}",
                expected="no such layer" if layer is None else f"a layer of {list(layer.weight.shape)}",
                fix="Name the converted Video-LLaVA-7B with --base",
            )
    usual = {name for name in linears if re.fullmatch(LANGUAGE_MODEL_LINEARS, name)}
    asked = lora.settings.targets
    expected = {name for name in usual if asked is None or name.rpartition(".")[2] in asked}
    if lost := sorted(expected - set(lora.modules)):
        raise SynvitaError(
            "an adapter lacks layers that its settings name",
            file=lora.folder,
            found=f"{len(lora.modules)} layers, without {', '.join(lost[:2])}",
            expected=f"{len(expected)}",
            fix="It was cut off, or belongs to a smaller base: download it again, or name another base",
        )
    # By the pattern that training uses: bare names would also put adapters on the towers' layers.
    return LANGUAGE_MODEL_LINEARS if set(lora.modules) == usual else list(lora.modules)


def _check_beside(beside: Mapping[str, Tensor], network: Any, file: Path, *, merged: bool) -> None:
    if beside and not merged:
        raise SynvitaError(
            "weights were trained beside the adapter, which an adapter cannot hold",
            file=file,
            found=f"{len(beside)}: {', '.join(sorted(beside)[:3])}",
            expected="none, as in SynViTA's release",
            fix="Make a whole model of base, adapter and these: --merge",
        )
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, tensor in beside.items():
        # Rows of the vocabulary may be fewer: the base has some for media behind them.
        rows = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        own, shape = shapes.get(name), list(tensor.shape)
        if own is None or (own[1:] != shape[1:] or own[0] < shape[0] if rows else own != shape):
            raise SynvitaError(
                "weights trained beside an adapter are for another base model",
                file=file,
                found=f"{name} {shape}",
                expected="no such weight" if own is None else own,
            )


def _write_merged(
    folder: Path, lora: LlavaLora, beside: Mapping[str, Tensor], base: Path, rounding: str, shard_bytes: int
) -> None:
    """Settings, processor and weights of the base, with LoRA and what was trained beside it."""
    scale, summed = lora.settings.alpha / lora.settings.rank, ROUNDINGS[rounding]
    modules = set(lora.modules)

    def change(name: str, weight: Tensor) -> Tensor:
        if name in beside:
            weight = weight.clone()
            weight[: len(beside[name])] = beside[name].to(weight.dtype)
        if rounding == "released":
            weight = weight.to(torch.float16)
        module = name.removesuffix(".weight")
        return summed(weight, *lora.pair(module), scale) if module in modules else weight

    write_shards(folder, read_state_dict(base), shard_bytes, change)
    # Everything but the weights is the base's.
    for path in sorted(base.iterdir()):
        if (
            path.suffix in (".json", ".jinja", ".model")
            and ".index." not in path.name
            and path.name != PROVENANCE
        ):
            (folder / path.name).write_bytes(path.read_bytes())
    if rounding == "released":
        raw = read_json(folder / CONFIG, "a model's settings")
        write_json(folder / CONFIG, {**raw, "dtype": "float16"})


def _frames(config: Any) -> int:
    return int(config.video_config.num_frames) if config.model_type == MODEL_TYPE else 8
