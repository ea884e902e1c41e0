"""JSON schemas (draft 2020-12) of a report and of what is submitted, made from the classes and rules that read them."""

import dataclasses
import types
import typing
from typing import Any

from ..display import json_text
from ..schema import SCHEMA_VERSION
from ..video.controls import CONTROLS
from .opening import MOST_RESAMPLES
from .recompute import KNOWN
from .report import REPORT_VERSION, Report

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_NUMBER = {"type": ["number", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_OBJECT = {"type": "object"}
_ESTIMATE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        **dict.fromkeys(("value", "low", "high", "worst_ties", "best_ties"), _NUMBER),
        "k": _COUNT,
        "n": _COUNT,
    },
    "required": ["name", "value", "low", "high", "worst_ties", "best_ties", "k", "n"],
}


def schemas() -> dict[str, Any]:
    """Both schemas in one document: `$defs.result` and `$defs.report`, which is also what the document itself accepts."""
    definitions: dict[str, Any] = {"result": _result()}
    of_report = _of_class(Report, definitions)
    return {
        "$schema": _DRAFT,
        "title": "synvita: submitted results and reports of synvita verify",
        "description": "Made by `synvita verify --schema`; do not edit.",
        "report_version": REPORT_VERSION,
        "result_schema_version": SCHEMA_VERSION,
        "anyOf": [of_report, {"$ref": "#/$defs/result"}],
        "$defs": definitions,
    }


def schemas_json() -> str:
    """The document as the text of a file."""
    return json_text(schemas(), indent=1) + "\n"


def _result() -> dict[str, Any]:
    """What `open_submitted` takes; verifying then looks at every field."""
    properties: dict[str, Any] = {name: {} for name in sorted(KNOWN)}
    properties |= {
        "schema_version": {"type": "string", "pattern": rf"^{SCHEMA_VERSION.split('.')[0]}(\.|$)"},
        "task": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "annotations": {"type": "string"},
                "counts": {"type": "object", "additionalProperties": _COUNT},
                "reading": _OBJECT,
            },
            "required": ["name", "annotations", "counts", "reading"],
        },
        "model": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "revision": {"type": ["string", "null"]},
                "kind": {"enum": ["log_odds", "probability", "similarity"]},
                "prompt": {"type": ["string", "null"]},
                "settings": _OBJECT,
            },
            "required": ["name", "revision", "kind"],
        },
        "control": {"enum": list(CONTROLS)},
        "frames": {"type": ["object", "null"]},
        "main_score": _ESTIMATE,
        "metrics": _OBJECT,
        "coverage": {"type": "object", "properties": {"k": _COUNT, "n": _COUNT}, "required": ["k", "n"]},
        "partial": {"type": "boolean"},
        "official": {"type": "boolean"},
        "why_not_official": {"type": "array", "items": {"type": "string"}},
        "bootstrap": {
            "type": "object",
            "properties": {"seed": _COUNT, "resamples": {**_COUNT, "maximum": MOST_RESAMPLES}},
            "required": ["seed", "resamples"],
        },
        "versions": _OBJECT,
        "run": _OBJECT,
    }
    return {
        "type": "object",
        "properties": properties,
        "required": [
            *("schema_version", "task", "model", "frames", "main_score", "metrics", "coverage", "partial"),
            *("official", "why_not_official", "bootstrap", "versions"),
        ],
        "additionalProperties": False,
    }


def _of_class(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to a dataclass, whose definition is added with those of all in it."""
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}
        hints = typing.get_type_hints(kind)
        fields = [field.name for field in dataclasses.fields(kind)]
        definitions[name] = {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "properties": {field: _of_type(hints[field], definitions) for field in fields},
            "required": fields,  # `to_record` writes all of them
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _of_type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        kinds = [_of_type(each, definitions) for each in arguments]
        plain = [each["type"] for each in kinds if set(each) == {"type"} and isinstance(each["type"], str)]
        return {"type": plain} if len(plain) == len(kinds) else {"anyOf": kinds}
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": _of_type(arguments[0], definitions)}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _of_class(hint, definitions)
    raise TypeError(f"no JSON schema of {hint}")
