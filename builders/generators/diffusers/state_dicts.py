"""Reading released checkpoints: tensors only, and every one of them accounted for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 3


def read_checkpoint(path: Path, wrappers: Sequence[str] = ("state_dict",)) -> "dict[str, Tensor]":
    """The state dict of a `.pt`, `.ckpt` or `.safetensors` file, in main memory.

    Args:
        wrappers: keys under which it may lie.

    Raises:
        SourceError: the file is missing, damaged, holds anything but tensors, or no state dict.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            document: Any = load_file(path)
        else:
            # weights_only: a checkpoint is a pickle, and must not be able to run anything.
            document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # OSError, BadZipFile, UnpicklingError, RuntimeError, SafetensorError, …
        raise SourceError(
            "the checkpoint cannot be read",
            file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="Download it again; a file that holds more than weights is refused",
        ) from error
    for wrapper in wrappers:
        if isinstance(document, dict) and isinstance(document.get(wrapper), Mapping):
            document = document[wrapper]
            break
    if not isinstance(document, Mapping):
        raise SourceError("the checkpoint holds no weights by name", file=path, found=type(document).__name__)
    state = {
        str(key).removeprefix("module."): value
        for key, value in document.items()
        if isinstance(value, torch.Tensor)
    }
    if not state:
        raise SourceError("the checkpoint holds no weights", file=path, found=list(document)[:SHOWN])
    return state


def load_exactly(module: Any, state: "Mapping[str, Tensor]", path: Path) -> None:
    """Load `state` into a module, whose names and shapes it must have, and no other.

    Raises:
        SourceError: which are missing, over, or of another shape.
    """
    own = module.state_dict()
    wrong = {
        "missing": sorted(set(own) - set(state)),
        "not of this model": sorted(set(state) - set(own)),
        "of another shape": sorted(
            key for key in set(own) & set(state) if own[key].shape != state[key].shape
        ),
    }
    told = [f"{len(keys)} {what} ({', '.join(keys[:SHOWN])})" for what, keys in wrong.items() if keys]
    if told:
        raise SourceError(
            f"the checkpoint does not hold the weights of {type(module).__name__}",
            file=path,
            found="; ".join(told),
            fix="Give the released file of this model",
        )
    module.load_state_dict(dict(state))
