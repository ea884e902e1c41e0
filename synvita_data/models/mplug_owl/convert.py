"""The released checkpoint as a folder that every Auto class loads: safetensors, settings, tokenizer, processor."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaTokenizer

from ...errors import SynvitaError, TokenizerError, first_line
from ...files import read_json
from .configuration import MplugOwlConfig
from .processing import MplugOwlProcessor, MplugOwlVideoProcessor
from .released import checked, read_config, read_state_dict

SHARD_BYTES = 2 << 30
# `Yes` and `No` of LLaMA's own tokenizer, each with its space in front.
LLAMA_ANSWERS = (3869, 1939)
LLAMA_VOCABULARY = 32000


def convert_mplug_owl(
    source: str | Path,
    out: str | Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Convert a folder as released (`MAGAer13/mplug-owl-llama-7b-video`) into `out`, all of it or nothing.

    Weights keep their dtype. Memory holds one file of `shard_bytes`.

    Args:
        source: the folder as released.
        out: the folder to make.
        shard_bytes: of a file of weights, at most.
        say: takes lines on the progress.

    Returns:
        What was written: `tensors`, `parameters` (numbers in them), `dtypes`, `shards` (files of weights), and
        `answers`, the ids of Yes and No.

    Raises:
        SynvitaError: `out` is there already; weights are missing, left over, of another shape or not finite;
            no LLaMA tokenizer; files that cannot be read.
    """
    source, out = Path(source), Path(out)
    with new_folder(out) as folder:
        config = read_config(source)
        processor = read_processor(source, config)
        answers = _check_answers(processor.tokenizer, config, source)
        weights = checked(read_state_dict(source), config, source)
        parameters = sum(tensor.numel() for tensor in weights.values())
        say(f"{len(weights):,} weights with {parameters:,} numbers, all that the model has")
        shards = write_shards(folder, weights, shard_bytes)
        dtypes = tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()}))
        config.architectures = ["MplugOwlForConditionalGeneration"]
        if len(dtypes) == 1:
            config.dtype = dtypes[0]
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
    say(f"Wrote {out}: {shards} file{'s' if shards > 1 else ''} of weights in {', '.join(dtypes)}")
    return {
        "tensors": len(weights),
        "parameters": parameters,
        "dtypes": dtypes,
        "shards": shards,
        "answers": answers,
    }


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `final`; on success flush its files to disk and rename it to `final`.

    Raises:
        SynvitaError: there is something at `final` already, before or by then.
    """
    _refuse_existing(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".part-{secrets.token_hex(4)}-{final.name}")
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.iterdir():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        _refuse_existing(final)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_shards(
    folder: Path,
    weights: Mapping[str, Tensor],
    shard_bytes: int = SHARD_BYTES,
    change: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
) -> int:
    """Write `model.safetensors`, or `model-0000k-of-0000N.safetensors` with their index; how many files.

    Files are written one at a time, so that memory holds one of them.

    Args:
        folder: to write them into.
        weights: by name.
        shard_bytes: of a file, at most; a larger weight has its own.
        change: what becomes of a weight on its way, of the same shape and dtype.

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
    split = split_torch_state_dict_into_shards(dict(weights), max_shard_size=shard_bytes)
    for file, names in split.filename_to_tensors.items():
        # Copies: tensors of a mapped file share its memory, and safetensors takes none that share.
        shard = {name: change(name, weights[name]).contiguous().clone() for name in names}
        for name, tensor in shard.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise SynvitaError(
                    "a checkpoint holds a weight that is not a finite number",
                    found=name,
                    fix="The first upload of the released model was faulty: take the revision in docs/mplug_owl.md",
                )
        save_file(shard, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": {"total_size": total}, "weight_map": split.tensor_to_filename}
        text = json.dumps(index, indent=2)
        (folder / "model.safetensors.index.json").write_text(text + "\n", encoding="utf-8")
    return len(split.filename_to_tensors)


def read_processor(folder: Path, config: MplugOwlConfig) -> MplugOwlProcessor:
    """The processor of a folder as released: `tokenizer.model`, mean and deviation of `preprocessor_config.json`.

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
    try:
        tokenizer = LlamaTokenizer.from_pretrained(
            folder, pad_token="<unk>", padding_side="right", add_bos_token=True, add_eos_token=False
        )
    except Exception as error:  # whatever sentencepiece and protobuf raise
        raise TokenizerError(
            "a tokenizer cannot be read",
            file=path,
            found=first_line(error),
            fix="Download it again",
        ) from error
    side = config.vision_config.image_size
    settings = _preprocessor_settings(folder / "preprocessor_config.json")
    return MplugOwlProcessor(
        video_processor=MplugOwlVideoProcessor(size={"height": side, "width": side}, **settings),
        tokenizer=tokenizer,
        tokens_per_video=config.tokens_per_video,
    )


def _preprocessor_settings(path: Path) -> dict[str, Any]:
    """CLIP's mean and deviation, or what the file says instead; the rest of it is the architecture's."""
    if not path.is_file():
        return {}
    raw = read_json(path, "a processor's settings")
    try:
        return {name: [float(x) for x in raw[name]] for name in ("image_mean", "image_std") if name in raw}
    except (ValueError, TypeError) as error:
        raise SynvitaError("a processor's settings cannot be read", file=path, found=str(error)) from error


def _check_answers(tokenizer: Any, config: MplugOwlConfig, folder: Path) -> tuple[int, int]:
    """The tokens of Yes and No, which a wrong tokenizer would move.

    Raises:
        TokenizerError: not one token each, other special tokens than LLaMA's, or not LLaMA's own ids.
    """
    special = (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("Yes", "No")]
    vocabulary = config.text_config.vocab_size
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


def _refuse_existing(final: Path) -> None:
    if final.exists() or final.is_symlink():
        raise SynvitaError(
            "there is something already where the result should go",
            file=final,
            expected="a folder that does not exist",
            fix="Name another folder, or remove this one",
        )
