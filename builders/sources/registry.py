"""The grammar of `--synthetic SPEC` and `--generator SPEC`: `scheme:argument`."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError

from .source import SyntheticSource

# Schemes whose videos have to be made by a model first. They share one module.
GENERATORS = ("diffusers", "lavie", "videocrafter2", "command")
_GENERATED = "synvita_data.builders.generators.source"

# Scheme -> (how it is written, module). A module has one function
# `open_source(argument: str, *, generator: str | None, work: Path | None) -> SyntheticSource`
# and is imported when its scheme is asked for; that of the generators also takes `scheme` and `making`.
SCHEMES: dict[str, tuple[str, str]] = {
    "folder": ("folder:DIR", "synvita_data.builders.sources.folder"),
    "shapes": ("shapes:", "synvita_data.builders.shapes.world"),
    "diffusers": ("diffusers:REPO_OR_DIR", _GENERATED),
    "lavie": ("lavie:DIR", _GENERATED),
    "videocrafter2": ("videocrafter2:DIR", _GENERATED),
    "command": ("command:TEMPLATE", _GENERATED),
}


def parse_spec(spec: str) -> tuple[str, str]:
    """Scheme and argument of a SPEC; the argument may be empty.

    Raises:
        SourceError: no scheme, or one that is not known; the message lists those that are.
    """
    scheme, colon, argument = spec.strip().partition(":")
    if not colon or scheme.lower() not in SCHEMES:
        looks_like_folder = Path(spec).expanduser().is_dir()
        raise SourceError(
            f"unknown source of synthetic videos {scheme!r}" if colon else "a source needs a scheme",
            found=spec,
            expected=f"one of {', '.join(written for written, _ in SCHEMES.values())}",
            fix=f"Write folder:{spec}" if looks_like_folder else None,
        )
    return scheme.lower(), argument.strip()


def open_source(
    spec: str,
    *,
    generator: str | None = None,
    work: Path | None = None,
    making: Mapping[str, Any] | None = None,
) -> SyntheticSource:
    """The source that a SPEC names.

    Args:
        spec: `folder:DIR` (files made before), `shapes:` (rendered on the spot), or a generator, which makes
            them when they are asked for (`diffusers:REPO_OR_DIR`, …).
        generator: name to record for the model that made the videos, where they do not say themselves.
        work: folder where a source that makes videos keeps them; one that only finds them needs none.
        making: keyword arguments of `generators.generate_videos` (samples, overrides, engine, workers, …), for
            the generators; the others ignore it.

    Raises:
        SourceError: unknown scheme, or an argument the scheme cannot use.
    """
    scheme, argument = parse_spec(spec)
    module = import_module(SCHEMES[scheme][1])
    more = {"scheme": scheme, "making": making or {}} if scheme in GENERATORS else {}
    source: SyntheticSource = module.open_source(argument, generator=generator, work=work, **more)
    return source
