"""What a checkpoint is: its revision, which changes whenever its scores may change, and that it is whole."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import SynvitaError
from ..files import sha256_file

WHOLE_FILES = "Check the name, and that all files of the model are whole"


@contextmanager
def explained(
    name: str, advice: str = WHOLE_FILES, *, unchanged: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Whatever goes wrong while a checkpoint is read becomes an error that names it.

    Args:
        name: of the checkpoint. advice: what to do.
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
        raise SynvitaError(
            "cannot load the model",
            file=name,
            found=(str(error).strip() or type(error).__name__).splitlines()[0],
            fix=advice,
        ) from error


def model_revision(name: str, model: Any) -> str:
    """The Hub's commit of a model that came from there, else a digest (16 hex digits) of its folder's files.

    The digest is over names and contents of all files of the folder itself and of
    `additional_chat_templates`, but for Markdown and hidden ones: checkpoints of a trainer, which lie in
    folders below, do not count.

    Raises:
        SynvitaError: neither is known.
    """
    folder = Path(name)
    if folder.is_dir():
        digest = hashlib.sha256()
        for path in sorted([*folder.iterdir(), *folder.glob("additional_chat_templates/*")]):
            if path.is_file() and not path.name.startswith(".") and path.suffix != ".md":
                digest.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
        return digest.hexdigest()[:16]
    commit = getattr(model.config, "_commit_hash", None)
    if not commit:
        raise SynvitaError("the model's revision is not known", file=name, fix="Pass --revision")
    return str(commit)


def check_complete(name: str, loading: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that lacks weights: transformers would fill them with random numbers.

    Args:
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
