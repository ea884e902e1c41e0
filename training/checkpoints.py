"""Models on disk: saved whole or not at all, read back into a running training, and merged with their adapter.

What is saved is what `synvita evaluate FOLDER` and `from_pretrained` read: an adapter of PEFT that knows its
base (`adapter_config.json`, `adapter_model.safetensors`), or a full model, with the processor beside it.
"""

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synvita_data.errors import OTHER_FORM, StoreError, SynvitaError, first_line
from synvita_data.files import exchange_folder

_STATE = "trainer_state.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Written last: without them a folder is not a model, so nobody reads one that is still being written.
_LAST = ("config.json", "adapter_config.json")


def save_model_files(
    network: Any,
    processor: Any,
    folder: Path,
    *,
    state: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Save a model, or the adapter of a PEFT model, with its processor; no file is ever half-written.

    Args:
        network: PEFT or stock model.
        processor: of the model.
        folder: made if it is not there; files of the same names are replaced.
        state: weights by name, where they are sharded; None for the network's own.
        more: text files by name.

    On a full disk each library raises an error of its own: see `writing_checkpoint`.
    """
    with _beside(folder / "model") as staging:
        options: dict[str, Any] = {} if state is None else {"state_dict": dict(state)}
        if hasattr(network, "peft_config"):
            options["save_embedding_layers"] = False  # or PEFT would ask the Hub for the base's vocabulary
        network.save_pretrained(staging, **options)
        (staging / "README.md").unlink(missing_ok=True)  # PEFT's empty card; ours comes from the run
        processor.save_pretrained(staging)
        for name, content in (more or {}).items():
            (staging / name).write_text(content, encoding="utf-8")
        files = [path.relative_to(staging) for path in staging.rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: (file.name in _LAST, str(file))):
            _sync(staging / file)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / file).replace(folder / file)


def load_model_files(network: Any, folder: Path) -> None:
    """Put saved weights into a model of the same kind.

    Raises:
        SynvitaError: the folder has no weights, or those of another model.
    """
    if hasattr(network, "peft_config"):
        _load_adapter(network, folder)
        return
    if not (folder / "config.json").is_file():
        raise SynvitaError(
            "not a checkpoint of a full model", file=folder, expected="config.json and weights"
        )
    # By the class, which knows how names on disk differ from its own.
    with reading_checkpoint(folder):
        saved = type(network).from_pretrained(folder, dtype=network.dtype)
        network.load_state_dict(saved.state_dict())


def check_resumable(folder: Path, *, sharded: bool = False) -> None:
    """Complain about a checkpoint that lacks a part, or has a damaged one, before training resumes from it.

    Args:
        folder: of the checkpoint.
        sharded: FSDP or DeepSpeed, which keep the optimizer in forms of their own.

    Raises:
        SynvitaError: the folder is missing; optimizer or scheduler state are not in it (`save_only_model`); a file is
            cut off.
    """
    from transformers import TrainerState

    if not folder.is_dir():
        raise SynvitaError("there is no checkpoint to resume from", file=folder)
    needed = [_STATE] if sharded else [_STATE, "optimizer.pt", "scheduler.pt"]
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise SynvitaError(
            "cannot resume: the checkpoint has no optimizer or scheduler state",
            file=folder,
            found=f"no {' and no '.join(missing)}",
            expected="a checkpoint that was saved with save_only_model=false",
            fix="Start another run with this folder as its model (or with the base model), and another output_dir",
        )
    for path in sorted({*folder.glob("*.pt"), *folder.glob("*.pth")}):
        if not zipfile.is_zipfile(path):  # torch's format, whose directory comes last
            raise _unreadable(path, f"{path.stat().st_size:,} bytes that are not an archive of torch")
    path = folder / _STATE
    try:
        TrainerState.load_from_json(str(path))
    except (OSError, *OTHER_FORM) as error:
        raise _unreadable(path, error) from error


@contextmanager
def reading_checkpoint(folder: str | Path | None) -> Iterator[None]:
    """Errors of torch, pickle and safetensors about a file's content, as a `SynvitaError` with the folder."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError) as error:
        # CUDA's errors (out of memory) are not about the checkpoint.
        if folder is None or type(error).__module__.startswith("torch"):
            raise
        raise _unreadable(Path(folder), error) from error


@contextmanager
def writing_checkpoint(folder: Path, *, clean: Path | None = None) -> Iterator[None]:
    """A full disk, which each writer reports in its own way, as a `StoreError` with the folder.

    Args:
        folder: that is written.
        clean: folder that is removed then, for it holds half a checkpoint.
    """
    try:
        yield
    except Exception as error:
        if clean is not None:
            shutil.rmtree(clean, ignore_errors=True)
        # safetensors and tokenizers have the system's words, torch's archive writer has none; tokenizers raises Exception.
        of_the_disk = isinstance(error, OSError) or re.search(
            r"os error \d+|inline_container|PytorchStreamWriter|iostream error", str(error)
        )
        if isinstance(error, SynvitaError) or not of_the_disk:
            raise
        raise StoreError(
            "a model or checkpoint cannot be written",
            file=folder,
            found=first_line(error),
            expected="room on the disk, and a folder that may be written",
            fix="Make room and give the same command again: training resumes from its last finished checkpoint",
        ) from error


def replace_folder(new: Path, final: Path) -> None:
    """Rename a finished folder; one of that name changes places with it and is taken away."""
    for path in new.rglob("*"):
        if path.is_file():
            _sync(path)
    exchange_folder(new, final)
    shutil.rmtree(new, ignore_errors=True)


def merge_adapter(folder: str | Path, out: str | Path, *, dtype: str | None = None) -> Path:
    """Merge an adapter into its base and save the model that results, as `from_pretrained` loads it.

    Args:
        folder: of an adapter (or its name on the Hub), as training saves it.
        out: folder of the merged model, which must not be there yet.
        dtype: of the saved weights; None for the base's own. Merging in bfloat16 rounds, so that scores differ
            a little from those of base and adapter.

    Raises:
        SynvitaError: not an adapter, its base is not there, or `out` is.
        StoreError: the disk is full.
    """
    from synvita_data.models.families import get_family
    from synvita_data.models.loading import load_alignment_model
    from synvita_data.models.resolve import TRAINING_ARGUMENTS, ModelFiles, find_checkpoint

    final = Path(out)
    if final.exists():
        raise SynvitaError("the merged model would replace something", file=final, fix="Name another folder")
    checkpoint = find_checkpoint(str(folder))
    if checkpoint.adapter is None:
        raise SynvitaError("not an adapter, so there is nothing to merge", file=folder)
    if dtype is None:
        kind = get_family(checkpoint.model_type).network_class().config_class  # also of families of our own
        own = kind.from_pretrained(ModelFiles(checkpoint.base).source, revision=checkpoint.revision).dtype
        dtype = str(own or "float32").removeprefix("torch.")
    model, _ = load_alignment_model(checkpoint, dtype=dtype, device="cpu")
    merged = model.model.merge_and_unload()
    with writing_checkpoint(final), _beside(final) as staging:
        noted = checkpoint.adapter / TRAINING_ARGUMENTS  # how it was asked, which its scores depend on
        more = {noted.name: noted.read_text(encoding="utf-8")} if noted.is_file() else None
        save_model_files(merged, model.family.processor, staging / "model", more=more)
        replace_folder(staging / "model", final)
    return final


def _load_adapter(network: Any, folder: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / ADAPTER_WEIGHTS
    try:
        weights = load_file(path)
        result: Any = set_peft_model_state_dict(network, weights, adapter_name=network.active_adapter)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise SynvitaError(
            "an adapter cannot be read into this model",
            file=path,
            found=first_line(error),
            fix="Train with the same model and the same lora_… settings as the checkpoint",
        ) from error
    lost = [key for key in result.missing_keys if ".lora_" in key]
    if result.unexpected_keys or lost:
        raise SynvitaError(
            "a checkpoint has the adapter of other modules",
            file=path,
            found=(list(result.unexpected_keys) or lost)[:3],
            fix="Train with the same model and the same lora_… settings as the checkpoint",
        )


def _unreadable(path: Path, error: object) -> SynvitaError:
    return SynvitaError(
        "a checkpoint cannot be read",
        file=path,
        found=first_line(error) if isinstance(error, Exception) else error,
        fix="Remove this checkpoint's folder; training then resumes from the one before it",
    )


@contextmanager
def _beside(final: Path) -> Iterator[Path]:
    """A folder of our own on the same file system, gone afterwards."""
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".part-{final.name}-", dir=final.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
