"""Models on disk: saved whole or not at all, read back into a running training, and merged with their adapter.

What is saved is what `synvita evaluate FOLDER` and `from_pretrained` read: an adapter of PEFT that knows its
base (`adapter_config.json`, `adapter_model.safetensors`), or a full model, with the processor beside it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synvita_data.errors import SynvitaError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Written last: without them a folder is no model, so nobody reads one that is still being written.
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
        network: PEFT or stock model. folder: made if it is not there; files of the same names are replaced.
        state: weights by name, where they are sharded; None for the network's own.
        more: text files by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
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
        SynvitaError: the folder has no such weights, or those of another model.
    """
    if hasattr(network, "peft_config"):
        _load_adapter(network, folder)
        return
    if not (folder / "config.json").is_file():
        raise SynvitaError(
            "not a checkpoint of a full model", file=folder, expected="config.json and weights"
        )
    # By the class, which knows how names on disk differ from its own.
    saved = type(network).from_pretrained(folder, dtype=network.dtype)
    network.load_state_dict(saved.state_dict())


def replace_folder(new: Path, final: Path) -> None:
    """Rename a finished folder; one of that name is taken away first."""
    for path in new.rglob("*"):
        if path.is_file():
            _sync(path)
    if final.exists():
        with _beside(final) as old:
            final.replace(old / "old")
            new.replace(final)
    else:
        new.replace(final)


def merge_adapter(folder: str | Path, out: str | Path, *, dtype: str | None = None) -> Path:
    """Merge an adapter into its base and save the model that results, as `from_pretrained` loads it.

    Args:
        folder: of an adapter (or its name on the Hub), as training saves it. out: must not be there yet.
        dtype: of the saved weights; None for the base's own. Merging in bfloat16 rounds, so that scores differ
            a little from those of base and adapter.

    Raises:
        SynvitaError: not an adapter, its base is not there, or `out` is.
    """
    from transformers import AutoConfig

    from synvita_data.alignment.loading import TRAINING_ARGUMENTS, find_checkpoint, load_alignment_model

    final = Path(out)
    if final.exists():
        raise SynvitaError("the merged model would replace something", file=final, fix="Name another folder")
    checkpoint = find_checkpoint(str(folder))
    if checkpoint.adapter is None:
        raise SynvitaError("not an adapter, so there is nothing to merge", file=folder)
    if dtype is None:
        own = AutoConfig.from_pretrained(checkpoint.base, revision=checkpoint.revision).dtype
        dtype = str(own or "float32").removeprefix("torch.")
    model, _ = load_alignment_model(checkpoint, dtype=dtype, device="cpu")
    merged = model.model.merge_and_unload()
    final.parent.mkdir(parents=True, exist_ok=True)
    with _beside(final) as staging:
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
            found=(str(error).strip() or type(error).__name__).splitlines()[0],
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


@contextmanager
def _beside(final: Path) -> Iterator[Path]:
    """A folder of our own on the same file system, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f".part-{final.name}-", dir=final.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
