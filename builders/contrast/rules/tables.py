"""The tables of the rules: YAML files of this folder, and a user's own beside them.

A folder of own tables holds files of the same names. What they say of a group replaces what ours say of it, and groups
that are only theirs are added, so a language of work (kitchens, surgery, football) is a file of a few lines.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from synvita_data.errors import SynvitaError, first_line
from synvita_data.files import parse_yaml

from ..english import tokens
from .inflect import plural, verb_forms

# Table -> the keys of its file, and for keys that hold groups the fields of one.
LAYOUT: dict[str, dict[str, tuple[str, ...]]] = {
    "nouns": {},
    "verbs": {
        "lists": (),
        "classes": ("words", "next", "objects", "closed", "determined", "needs", "unless"),
    },
    "attributes": {"groups": ("words", "before", "alone_after", "unless")},
    "relations": {"verbs": (), "groups": ("words", "after", "before", "needs", "unless")},
    "additions": {"joins": (), "actors": (), "actions": (), "lasting": (), "phrases": (), "unless": ()},
    "words": {"adjectives": (), "adverbs": (), "verbs": (), "determiners": (), "paired": ()},
    "irregular": {"verbs": (), "nouns": ()},
    "frequency": {},
}
NOUN_FIELDS = ("words", "mass", "bare", "plural", "swap", "not_behind", "unless")
# Raise it when equal tables give other contrast captions.
RULE = 1

# Strings only; libyaml's where PyYAML was built with it, which is ten times as fast.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Words that are changed for each other, and when.

    Attributes:
        name: of the group.
        words: [[synonyms]].
        fields: everything else that the table says of it; lists of phrases.
    """

    name: str
    words: tuple[tuple[str, ...], ...]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def phrases(self, name: str) -> frozenset[Phrase]:
        return frozenset(tuple(tokens(each)) for each in self.fields.get(name, ()))

    @cached_property
    def unless(self) -> frozenset[Phrase]:
        return self.phrases("unless")

    @cached_property
    def unless_at(self) -> dict[str, list[Phrase]]:
        """`unless` by the first words of its phrases."""
        found: dict[str, list[Phrase]] = {}
        for phrase in self.unless:
            found.setdefault(phrase[0], []).append(phrase)
        return found

    @cached_property
    def needs(self) -> frozenset[Phrase]:
        return self.phrases("needs")

    @cached_property
    def before(self) -> frozenset[Phrase]:
        return self.phrases("before")

    @cached_property
    def after(self) -> frozenset[str]:
        given = self.fields.get("after", ())
        return frozenset([given] if isinstance(given, str) else given)

    def flag(self, name: str) -> bool:
        return self.fields.get(name) == "true"


class Tables:
    """All tables, read and checked.

    Args:
        folder: of own tables; None for ours alone.

    Raises:
        SynvitaError: no such folder, no table in it, or a file that is not a table; names the file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        raw = {name: _read(Path(__file__).parent / "tables" / f"{name}.yaml", name) for name in LAYOUT}
        if folder is not None:
            own = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
            if not own:
                raise SynvitaError(
                    "no tables for the rules in the folder",
                    file=folder,
                    expected=f"some of {', '.join(f'{name}.yaml' for name in LAYOUT)}",
                )
            for path in own:
                if path.stem not in LAYOUT:
                    raise SynvitaError(
                        "unknown table of the rules",
                        file=path,
                        expected=", ".join(f"{name}.yaml" for name in LAYOUT),
                    )
                _merge(raw[path.stem], _read(path, path.stem))
        self.raw = raw
        self.irregular_verbs: dict[str, str] = raw["irregular"]["verbs"]
        self.irregular_nouns: dict[str, str] = raw["irregular"]["nouns"]
        self.frequency: dict[str, int] = {word: int(count) for word, count in raw["frequency"].items()}
        self.nouns = [_group(name, given) for name, given in raw["nouns"].items()]
        self.verbs = [_group(name, given) for name, given in raw["verbs"]["classes"].items()]
        self.attributes = [_group(name, given) for name, given in raw["attributes"]["groups"].items()]
        self.relations = [_group(name, given) for name, given in raw["relations"]["groups"].items()]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the tables say and of the rules' version, 16 digits."""
        text = json.dumps([RULE, self.raw], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def words(self, name: str) -> frozenset[str]:
        return frozenset(self.raw["words"][name])

    def noun_forms(self, group: Group, noun: str) -> dict[str, str]:
        """`singular` and `plural` -> the noun; only one of them for mass nouns and those that are always plural."""
        if group.flag("mass"):
            return {"singular": noun}
        if group.flag("plural"):
            return {"plural": noun}
        return {"singular": noun, "plural": plural(noun, self.irregular_nouns)}

    def verb_forms(self, verb: str) -> dict[str, str]:
        return verb_forms(verb, self.irregular_verbs)


def _group(name: str, given: Mapping[str, Any]) -> Group:
    words = tuple(tuple(part.strip() for part in each.split("|")) for each in given["words"])
    return Group(name, words, {key: value for key, value in given.items() if key != "words"})


def _merge(ours: dict[str, Any], own: Mapping[str, Any]) -> None:
    for key, value in own.items():
        known = ours.get(key)
        if isinstance(known, list) and isinstance(value, list):
            ours[key] = [*known, *(each for each in value if each not in known)]
        elif isinstance(known, dict) and isinstance(value, dict):
            ours[key] = {**known, **value}
        else:
            ours[key] = value


def _read(path: Path, name: str) -> dict[str, Any]:
    """A table; every scalar is a string, so that `on`, `off` and `no` stay words."""
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"), _LOADER)
    except (OSError, ValueError) as error:
        raise SynvitaError(
            "a table of the rules cannot be read", file=path, found=first_line(error)
        ) from None
    if not isinstance(found, dict):
        raise SynvitaError(
            "a table of the rules is not a mapping", file=path, expected="names with their words"
        )
    allowed = LAYOUT[name]
    for key, value in found.items():
        if allowed and key not in allowed:
            raise SynvitaError(
                "unknown key in a table of the rules", file=path, found=key, expected=", ".join(allowed)
            )
        if name == "nouns":
            _check_group(path, key, value, NOUN_FIELDS)
        elif allowed and allowed[key]:
            if not isinstance(value, dict):
                raise SynvitaError("groups are not a mapping", file=path, found=key)
            for group, given in value.items():
                _check_group(path, group, given, allowed[key])
        elif name == "frequency" and not str(value).isdigit():
            raise SynvitaError("a frequency is not a whole number", file=path, found=f"{key}: {value}")
    return found


def _check_group(path: Path, name: str, given: Any, fields: Iterable[str]) -> None:
    fields = tuple(fields)
    if not isinstance(given, dict) or not isinstance(given.get("words"), list):
        raise SynvitaError(
            f"group {name!r} of a table has no list of words", file=path, expected="words: [dog|puppy, cat]"
        )
    if strange := sorted(set(given) - set(fields)):
        raise SynvitaError(
            f"group {name!r} of a table has an unknown field",
            file=path,
            found=strange[0],
            expected=", ".join(fields),
        )
    if not all(isinstance(word, str) and word.strip() for word in given["words"]):
        raise SynvitaError(f"group {name!r} of a table has a word that is none", file=path)
