"""What conversions of released checkpoints share: shards, LoRA merged."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers import LlamaTokenizer

from ...errors import SynvitaError, TokenizerError, first_line
from ...files import read_json, sha256_file, snapshot_commit
from . import ADAPTER_WEIGHTS
from .weights import save_tensors

SHARD_BYTES = 2 << 30
# What a conversion was made of: names and digests of its sources.
PROVENANCE = "conversion.json"
# `Yes` and `No` of LLaMA's own tokenizer, each with its space in front.
LLAMA_ANSWERS = (3869, 1939)
LLAMA_VOCABULARY = 32000


def write_shards(
    folder: Path,
    weights: Mapping[str, Tensor],
    shard_bytes: int = SHARD_BYTES,
    change: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
    *,
    advice: str = "Download it again",
) -> int:
    """Write `model.safetensors`, or `model-0000k-of-0000N.safetensors` with their index; how many files.

    Files are written one at a time, so that memory holds one of them.

    Args:
        folder: to write them into.
        weights: by name.
        shard_bytes: of a file, at most; a larger weight has its own.
        change: what becomes of a weight on its way, of the same shape and no more bytes.
        advice: what to do about a weight that is not a finite number.

    Raises:
        SynvitaError: a weight is not a finite number, or the disk has no room.
    """
    total = sum(tensor.nbytes for tensor in weights.values())
    free = shutil.disk_usage(folder).free
    if free < total:
        raise SynvitaError(
            "the disk has no room for the weights",
            file=folder,
            found=f"{free:,} bytes",
            expected=f"{total:,}",
        )
    split, written = split_torch_state_dict_into_shards(dict(weights), max_shard_size=shard_bytes), 0
    for file, names in split.filename_to_tensors.items():
        # Copies: tensors of a mapped file share its memory, and safetensors takes none that share.
        shard = {name: change(name, weights[name]).contiguous().clone() for name in names}
        for name, tensor in shard.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise SynvitaError(
                    "a checkpoint holds a weight that is not a finite number", found=name, fix=advice
                )
        save_tensors(shard, folder / file)
        written += sum(tensor.nbytes for tensor in shard.values())
        del shard, tensor  # before the next one is copied
    if split.is_sharded:
        index = {"metadata": {"total_size": written}, "weight_map": split.tensor_to_filename}
        write_json(folder / "model.safetensors.index.json", index)
    return len(split.filename_to_tensors)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file in a folder that is still being made."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def provenance(folder: Path, files: Iterable[Path]) -> dict[str, Any]:
    """What a conversion read: names, sizes and SHA-256 of files, and the Hub's commit where the folder tells it.

    Args:
        folder: of the source; only its name is kept, for places on a machine are nobody's business.
        files: that were read.
    """
    commit = snapshot_commit(folder.resolve())
    return {
        "folder": folder.resolve().name,
        **({"commit": commit} if commit else {}),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(files)
        },
    }


def merge_float32(weight: Tensor, low: Tensor, high: Tensor, scale: float) -> Tensor:
    """W + scale · B A, summed in fp32 and rounded once, to W's dtype.

    Args:
        weight: W, [out, in].
        low: A, [r, in].
        high: B, [out, r].
        scale: alpha / r.
    """
    return (weight.float() + scale * (high.float() @ low.float())).to(weight.dtype)


def merge_exact(weight: Tensor, low: Tensor, high: Tensor, scale: float) -> Tensor:
    """fp16 as the released evaluation merges: round16(W16 + fp32(scale · B A)), whatever W's dtype was.

    peft 0.4.0 keeps A and B in fp32 beside a model in fp16, and its `merge_and_unload` adds their fp32 product in
    place; checked number by number against it (tests/video_llava_original/). The release then casts to bf16.

    Args:
        weight: W, [out, in], taken as fp16.
        low: A, [r, in].
        high: B, [out, r].
        scale: alpha / r.
    """
    merged = weight.to(torch.float16).clone()
    merged += (high.float() @ low.float()) * scale
    return merged


def read_llama_tokenizer(folder: Path, **options: Any) -> Any:
    """The LLaMA tokenizer of a folder as released, from its `tokenizer.model`.

    `legacy` is always given to the class, whose default has changed: as the folder's settings say, or else False.

    Args:
        folder: as released.
        options: of `LlamaTokenizer`.

    Raises:
        TokenizerError: no `tokenizer.model`, or one that cannot be read.
    """
    path = folder / "tokenizer.model"
    if not path.is_file():
        raise TokenizerError(
            "no tokenizer",
            file=folder,
            expected="tokenizer.model, LLaMA's sentencepiece model",
            fix="Download the whole repository",
        )
    settings = folder / "tokenizer_config.json"
    noted = read_json(settings, "a tokenizer's settings") if settings.is_file() else {}
    legacy = bool(noted.get("legacy", False))
    try:
        tokenizer = LlamaTokenizer.from_pretrained(
            folder, legacy=legacy, add_bos_token=True, add_eos_token=False, **options
        )
    except Exception as error:  # whatever sentencepiece and protobuf raise
        raise TokenizerError(
            "a tokenizer cannot be read",
            file=path,
            found=first_line(error),
            fix="Download it again",
        ) from error
    tokenizer.init_kwargs["legacy"] = legacy  # or what is saved would not say it, and be read by the default
    return tokenizer


def check_answers(tokenizer: Any, vocabulary: int, folder: Path) -> tuple[int, int]:
    """The tokens of Yes and No, which a wrong tokenizer would move.

    Args:
        tokenizer: before any token is added.
        vocabulary: of the model.
        folder: for errors.

    Raises:
        TokenizerError: not one token each, other special tokens than LLaMA's, or not LLaMA's own ids.
    """
    special = (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("Yes", "No")]
    checks: list[tuple[str, Any, Any]] = [
        ("special tokens", special, (0, 1, 2)),
        ("number of tokens", len(tokenizer), vocabulary),
        ("tokens of Yes and of No", [len(own) for own in ids], [1, 1]),
    ]
    if vocabulary == LLAMA_VOCABULARY:
        checks.append(("Yes and No", tuple(own[0] for own in ids), LLAMA_ANSWERS))
    for what, found, expected in checks:
        if found != expected:
            raise TokenizerError(
                f"a tokenizer is not the model's: {what}", file=folder, found=found, expected=expected
            )
    return ids[0][0], ids[1][0]


def write_adapter(
    folder: Path,
    matrices: Mapping[tuple[str, str], Tensor],
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: str | list[str],
    base: str,
) -> None:
    """Write LoRA as PEFT saves it.

    Args:
        folder: takes the files.
        matrices: (module, "A" or "B") -> matrix.
        rank: r.
        alpha: LoRA's; whole numbers are written as such.
        dropout: of further training.
        targets: a pattern, or names of modules.
        base: folder or Hub id of the base model.

    Raises:
        StoreError: it cannot be written.
    """
    from peft import LoraConfig

    number: Any = int(alpha) if alpha == int(alpha) else alpha  # PEFT takes any number, and says int
    LoraConfig(
        r=rank,
        lora_alpha=number,
        lora_dropout=dropout,
        target_modules=targets,
        base_model_name_or_path=base,
        inference_mode=True,
    ).save_pretrained(str(folder))
    tensors = {
        f"base_model.model.{module}.lora_{side}.weight": tensor.contiguous().clone()
        for (module, side), tensor in matrices.items()
    }
    save_tensors(tensors, folder / ADAPTER_WEIGHTS)


def check_weights(
    weights: Mapping[str, Tensor], network: Callable[[], Any], what: str, folder: Path, *, fix: str
) -> None:
    """Complain unless `weights` are just those of a model.

    Args:
        weights: by name.
        network: makes the model, here without memory.
        what: the model, for the message.
        folder: for the message.
        fix: what to do.

    Raises:
        SynvitaError: a weight is missing, left over, of another shape or of whole numbers.
    """
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in network().state_dict().items()}
    wrong = {
        "missing": sorted(expected.keys() - weights.keys()),
        "left over": sorted(weights.keys() - expected.keys()),
        "other shape": [
            f"{name} {list(weights[name].shape)} for {list(expected[name])}"
            for name in sorted(expected.keys() & weights.keys())
            if list(weights[name].shape) != list(expected[name])
        ],
        "of whole numbers (quantised)": sorted(
            name for name in expected.keys() & weights.keys() if not weights[name].is_floating_point()
        ),
    }
    if any(wrong.values()):
        raise SynvitaError(
            f"a checkpoint does not hold just the weights of {what}",
            file=folder,
            found="; ".join(
                f"{len(names):,} {kind}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
                for kind, names in wrong.items()
                if names
            ),
            fix=fix,
        )


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """What a class of settings does not take of a `config.json` becomes an error that names the file.

    Raises:
        SynvitaError: in place of what transformers raises.
    """
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (ValueError, TypeError, StrictDataclassError) as error:
        found = " ".join(str(error).split())
        raise SynvitaError("a model's settings cannot be used", file=path, found=found) from error


def own_fields(kind: type, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a class of settings knows of these; what is null, or about files, is left out.

    Args:
        kind: the class.
        given: of a `config.json`.
    """
    names = {field.name for field in fields(kind)} - {"dtype", "architectures", "transformers_version"}
    names -= {"_name_or_path", "model_type"}
    return {key: value for key, value in (given or {}).items() if key in names and value is not None}
