"""How the program ends when something was raised: one line that says what to do, and an exit status.

What a user, a file or a machine is to blame for has a line of its own. All else is a bug of ours: its line names the
file in which the traceback was written down, for whoever mends it.
"""

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .errors import SynvitaError, causes, first_line
from .extras import explained

USER, BUG, INTERRUPTED = 2, 1, 130  # exit statuses
# Commands whose work is kept: the same command goes on where it stopped.
_RESUMES = frozenset(
    {
        "annotations",
        "build",
        "contrast",
        "demo",
        "evaluate",
        "generate",
        "push",
        "reproduce",
        "score",
        "study",
        "train",
        "vqascore",
    }
)


def ending(error: Exception, arguments: Sequence[str] = ()) -> tuple[str, int]:
    """The line to print for what a command raised, and the exit status.

    Args:
        error: the exception; not that a reader of our output has gone.
        arguments: the command line behind `synvita`; only the command's name is kept.
    """
    if isinstance(error, SynvitaError):
        return f"error: {error}", USER
    if (known := _of_a_library(error)) is not None:
        return f"error: {known}", USER
    if (system := _of_the_system(error)) is not None:
        return f"error: {system}", USER
    where = _write_report(error, arguments)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    kept = "The traceback could not be written down" if where is None else f"The traceback is in {where}"
    said = f"{type(error).__name__}: {first_line(error)}"
    return f"error: this is a bug of synvita-data, not a mistake of yours: {said}{place}. {kept}.", BUG


def interrupted(command: str | None) -> str:
    """What Ctrl-C leaves, in one line.

    Args:
        command: its name; None where it is not known.
    """
    if command in _RESUMES:
        return "interrupted: what is finished is kept, and the same command continues from there"
    return "interrupted: nothing is half-written"


def _of_a_library(error: Exception) -> SynvitaError | None:
    """What a library raised by itself, where it is about the Hub or a package that is missing."""
    if "huggingface_hub" in sys.modules and not _of_another_folder(error):
        from .hub.problems import HubRequest, hub_problem, repository_of

        request = HubRequest(repository_of(error), "something cannot be read from the Hub")
        if (problem := hub_problem(error, request)) is not None:
            return problem
    if (missing := explained(error)) is not None:
        return missing
    if isinstance(error, ImportError) and not (error.name or "").startswith("synvita_data"):
        return SynvitaError(
            "a package cannot be imported",
            found=first_line(error),
            fix="Install synvita-data again, so that its versions fit together",
        )
    return None


def _of_another_folder(error: Exception) -> bool:
    """Whether the system refused something outside of the Hub's cache, such as a full disk under the user's output."""
    if not isinstance(error, OSError) or error.errno is None:
        return False
    if error.filename is None:  # of writing, where only who wrote knows the file
        return not any(
            Path(frame.filename).is_relative_to(package)
            for package in _packages_of_the_hub()
            for cause in causes(error)
            for frame in traceback.extract_tb(cause.__traceback__)
        )
    from huggingface_hub import constants

    return not str(error.filename).startswith((constants.HF_HOME, constants.HF_HUB_CACHE))


def _packages_of_the_hub() -> list[Path]:
    """Where the libraries lie that read from the Hub, those that are loaded."""
    names = ("huggingface_hub", "datasets", "transformers", "diffusers", "fsspec", "httpx", "httpcore")
    loaded = [getattr(sys.modules.get(name), "__file__", None) for name in names]
    return [Path(file).parent for file in loaded if file]


def _of_the_system(error: Exception) -> SynvitaError | None:
    """What the machine refused: a full disk, a file that may not be read, memory."""
    torch: ModuleType | None = sys.modules.get("torch")
    for cause in causes(error):
        if isinstance(cause, MemoryError) or (
            torch is not None and isinstance(cause, getattr(torch, "OutOfMemoryError", ()))
        ):
            return SynvitaError(
                "there is not enough memory",
                found=first_line(cause),
                fix="Take less at once (a smaller batch, fewer frames or workers), or a larger machine",
            )
    if isinstance(error, OSError) and error.errno is not None:
        # Nothing is half-written. An error of a library about what a file holds has no number.
        return SynvitaError(error.strerror or first_line(error), file=error.filename)
    return None


def _write_report(error: Exception, arguments: Sequence[str]) -> str | None:
    """Write the traceback into the folder of temporary files; its path, or None where that cannot be done.

    Of the command line it names the command alone: options may hold tokens.
    """
    from . import __version__
    from .display import plain_lines

    command = next((each for each in arguments if not each.startswith("-")), "")
    lines = [
        f"synvita-data {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"synvita {command} …",
        "".join(traceback.format_exception(error)),
    ]
    try:
        descriptor, path = tempfile.mkstemp(prefix="synvita-bug-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(plain_lines("\n".join(lines)))
    except OSError:
        return None
    return path
