"""Weights as safetensors files of bounded size, written one at a time so that memory holds one of them."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...errors import SynvitaError

SHARD_BYTES = 2 << 30


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

    Args:
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
    groups = _groups(weights, shard_bytes)
    index: dict[str, str] = {}
    for number, names in enumerate(groups, start=1):
        only = len(groups) == 1
        file = "model.safetensors" if only else f"model-{number:05}-of-{len(groups):05}.safetensors"
        # Copies: tensors of a mapped file share its memory, and safetensors takes none that share.
        shard = {name: change(name, weights[name]).contiguous().clone() for name in names}
        for name, tensor in shard.items():
            _check_finite(name, tensor)
        save_file(shard, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(names, file)
    if len(groups) > 1:
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
        (folder / "model.safetensors.index.json").write_text(text + "\n", encoding="utf-8")
    return len(groups)


def _groups(weights: Mapping[str, Tensor], limit: int) -> list[list[str]]:
    """Names in order, as many together as fit; a weight beyond the limit stands alone."""
    groups: list[list[str]] = []
    size = 0
    for name, tensor in weights.items():
        if not groups or size + tensor.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += tensor.nbytes
    return groups


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise SynvitaError(
            "a checkpoint holds a weight that is not a finite number",
            found=name,
            fix="The first upload of the released model was faulty: take the revision in docs/mplug_owl.md",
        )


def _refuse_existing(final: Path) -> None:
    if final.exists() or final.is_symlink():
        raise SynvitaError(
            "there is something already where the result should go",
            file=final,
            expected="a folder that does not exist",
            fix="Name another folder, or remove this one",
        )
