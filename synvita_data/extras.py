"""Packages of the extras (`score`, `train`, `generate`, …): what is missing, and an error that says how to get it.

Nothing heavy is imported to find out.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from .errors import SynvitaError, causes
from .versions import installed

DISTRIBUTION = "synvita-data"
# What fine-tuning needs at least.
TRAINING = ("torch", "transformers", "accelerate", "peft")
# Module of a package -> the smallest extra that brings it.
_EXTRAS = {
    "accelerate": "score",
    "decord": "decoders",
    "diffusers": "generate",
    "evaluate": "metrics",
    "gradio": "leaderboard",
    "peft": "score",
    "ray": "ray",
    "sentencepiece": "score",
    "tokenizers": "score",
    "torch": "score",
    "torchcodec": "decoders",
    "torchvision": "score",
    "transformers": "score",
}


class MissingPackageError(SynvitaError, ModuleNotFoundError):
    """A package of an extra is not installed."""


def install_line(extra: str) -> str:
    """The command that installs an extra, from where this package came: a checkout, an address, or an index."""
    place = _origin()
    named = f"{DISTRIBUTION}[{extra}] @ {place}" if "://" in place else f"{place}[{extra}]"
    return f'pip install "{named}"'


@cache
def _origin() -> str:
    """The folder or address that pip took this package from; its name where it came from an index."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return str(checkout)
    try:  # written by pip (PEP 610)
        told = json.loads(metadata.distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
        url, of_git = str(told.get("url", "")), told.get("vcs_info") or {}
    except (metadata.PackageNotFoundError, OSError, ValueError, AttributeError):
        return DISTRIBUTION
    if of_git:
        return f"{of_git.get('vcs')}+{url}@{of_git.get('commit_id')}"
    return unquote(url.removeprefix("file://")) if url.startswith("file://") else url or DISTRIBUTION


def lacking(*modules: str) -> tuple[str, ...]:
    """Those of some modules that are not installed; they are looked for, not imported."""
    return tuple(module for module in modules if find_spec(module) is None)


def require(extra: str, *modules: str, what: str = "this") -> None:
    """Refuse to begin without the packages that `what` needs.

    Args:
        extra: that brings them: `score`, `train`, `generate`, ….
        modules: their import names.
        what: that needs them, for the message.

    Raises:
        MissingPackageError: one is not installed.
    """
    if missing := lacking(*modules):
        raise MissingPackageError(
            f"{what} needs packages that are not installed",
            found=f"no {', '.join(missing)}",
            fix=install_line(extra),
        )


def explained(error: BaseException) -> MissingPackageError | None:
    """The error that says which extra to install, where a missing package of one is behind `error`; else None."""
    for cause in causes(error):
        if isinstance(cause, MissingPackageError):
            return cause
        module = (getattr(cause, "name", None) or "").partition(".")[0]
        if isinstance(cause, ModuleNotFoundError) and module in _EXTRAS and find_spec(module) is None:
            return MissingPackageError(
                f"{module} is needed here and not installed", fix=install_line(_EXTRAS[module])
            )
    return None


@contextmanager
def explaining() -> Iterator[None]:
    """Within, a missing package of an extra raises `MissingPackageError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (known := explained(error)) is None or known is error:
            raise
        raise known from error


def missing_packages(extra: str) -> list[str] | None:
    """What an extra of this package asks for and is not installed, or is too old; None where that is not known.

    Args:
        extra: `score`, `train`, `generate`, …, of pyproject.toml.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        stated = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return None
    missing = []
    for line in stated:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or not marker.evaluate({"extra": extra}) or marker.evaluate({"extra": ""}):
            continue
        there = installed([requirement.name]).get(requirement.name)
        if there is None:
            missing.append(f"{requirement.name}{requirement.specifier}")
        elif not requirement.specifier.contains(there, prereleases=True):
            missing.append(f"{requirement.name}{requirement.specifier} (there is {there})")
    return missing
