"""SPEC -> generator: `diffusers:`, `lavie:`, `videocrafter2:`, `command:`."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError

from ..sources.registry import GENERATORS, parse_spec
from .recipe import Generator
from .settings import parse_overrides

# Scheme -> (module, function `open(argument, overrides, name, cache) -> Generator`).
_OPENERS: dict[str, tuple[str, str]] = {
    "diffusers": ("diffusers.open", "open_diffusers"),
    "lavie": ("lavie.open", "open_lavie"),
    "videocrafter2": ("videocrafter2.open", "open_videocrafter2"),
    "command": ("command", "open_command"),
}


def open_generator(
    spec: str,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    name: str | None = None,
    cache: Path | None = None,
) -> Generator:
    """The generator of a SPEC, before anything heavy is imported or loaded.

    Args:
        spec: `diffusers:REPO_OR_DIR`, `lavie:DIR`, `videocrafter2:DIR` or `command:TEMPLATE`.
        overrides: `key=value` strings or a mapping; they replace the preset's settings.
        name: recorded as the videos' generator; default the model's own name.
        cache: JSON file that remembers digests of local weights; None remembers nothing.

    Raises:
        SourceError: not a SPEC of a generator, no such model, or a setting it cannot use.
    """
    scheme, argument = parse_spec(spec)
    if scheme not in GENERATORS:
        raise SourceError(
            f"{scheme}: does not generate",
            found=spec,
            expected=f"one of {', '.join(GENERATORS)}",
            fix=f"Its videos need no generating: give it to `synvita build --synthetic {spec}`",
        )
    module, function = _OPENERS[scheme]
    found = getattr(import_module(f".{module}", __package__), function)
    generator: Generator = found(argument, parse_overrides(overrides), name, cache)
    return generator
