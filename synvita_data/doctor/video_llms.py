"""Prompt, frames and preprocessing of a family of Video LLMs, read in the source of its file: importing it would load torch."""

import ast
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

from ..models.families import FAMILIES

_PACKAGE = "synvita_data.models.families"


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """What a family does where nothing else is asked for.

    Attributes:
        model_type: of `config.json`.
        prompt: name of its wording, of `captions.prompts.PROMPTS`.
        frames: fields of its `FramePolicy`, as far as they do not depend on the checkpoint.
        advice: what to do when a checkpoint cannot be loaded.
        preprocesses: names of ways to prepare frames, where it has several.
    """

    model_type: str
    prompt: str
    frames: dict[str, Any] = field(default_factory=dict)
    advice: str | None = None
    preprocesses: tuple[str, ...] = ()

    @property
    def frames_text(self) -> str:
        """The frames in words.

        Example:
            >>> FamilyFacts("video_llava", "video-llava", {"count": 8, "rule": "linspace"}).frames_text
            '8 frames, linspace'
        """
        count, fps, rule = (self.frames.get(name) for name in ("count", "fps", "rule"))
        if count is not None:
            number = f"{count} frames"
        else:
            number = "frames of the model's own choice" if fps is None else f"{fps:g} frames a second"
        return number if rule is None else f"{number}, {rule}"


def family_facts(model_type: str | None) -> FamilyFacts | None:
    """What the file of a family says; None for what is not a family."""
    if model_type is None or model_type not in FAMILIES:
        return None
    module, name = FAMILIES[model_type]
    values, policy = _read(module, name)
    preprocesses = values.get("preprocesses") or ()
    return FamilyFacts(
        model_type,
        str(values.get("default_prompt") or "question"),
        policy,
        values.get("advice"),
        tuple(map(str, preprocesses)) if isinstance(preprocesses, tuple | list | set | frozenset) else (),
    )


def _read(module: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Literal attributes of a class and those of its bases, and the arguments of its `FramePolicy`."""
    tree = _tree(f"{_PACKAGE}.{module}")
    own = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if own is None:
        return {}, {}
    values: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    for base in reversed(own.bases):
        if isinstance(base, ast.Name):
            inherited, frames = _read(_home_of(tree, base.id) or module, base.id)
            values |= inherited
            policy = frames or policy
    for node in own.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    values[target.id] = _literal(node.value)
        if isinstance(node, ast.FunctionDef) and node.name == "default_frames":
            policy = _policy(node) or policy
    return values, policy


def _tree(module: str) -> ast.Module:
    spec = util.find_spec(module)
    if spec is None or spec.origin is None:
        return ast.Module([], [])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _home_of(tree: ast.Module, name: str) -> str | None:
    """The module beside this one that a name comes from; None for one of its own."""
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.level != 1:
            continue
        if any((alias.asname or alias.name) == name for alias in node.names):
            return node.module
    return None


def _policy(function: ast.FunctionDef) -> dict[str, Any]:
    """The literal arguments of the `FramePolicy` that a function returns."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FramePolicy":
            found = {each.arg: _literal(each.value) for each in node.keywords if each.arg}
            return {name: value for name, value in found.items() if value is not None}
    return {}


def _literal(node: ast.expr) -> Any:
    """The value of a literal; of `max(8, …)`, the 8."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "max":
        return max((value for each in node.args if isinstance(value := _literal(each), int)), default=None)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
