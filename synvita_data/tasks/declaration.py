"""The reader of a task's declaration: one YAML file, every key known, every value of its type.

An error names the file and the line. docs/tasks.md lists the keys.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from string import Formatter
from typing import Any, TypeVar

import yaml

from ..captions.prompts import PROMPTS
from ..errors import SchemaError, located
from ..files import bounded_loader, yaml_errors
from ..hub.known import pinned
from ..real_videos.names import normal_source
from .forms import COMMON, FORMS, TaskForm
from .task import CheckedFile, ColumnSpec, Expected, Task

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
COUNTS = (
    "rows",
    "texts",
    "pairs",
    "videos",
    "captions",
    "groups",
    "positives",
    "repeated_texts",
    "contradictory_texts",
)
FRAMES: dict[str, type] = {"count": int, "rule": str, "fps": float}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 20  # bytes of a declaration
_DEEPEST = 30  # lists and mappings in each other; libyaml's time grows with the square of it
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T")


def read_declaration(path: str | Path, *, ours: bool = False) -> Task:
    """The task that a YAML file declares.

    Args:
        path: the file.
        ours: it is one of this package; a user's task remembers its file.

    Raises:
        SchemaError: not YAML; a key is unknown, missing, given twice or of another type; the message names the line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise SchemaError("a declaration is too large", file=path, expected="at most 1 MiB of YAML")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(
            "the declaration of a task cannot be read", file=path, found=str(error), expected="a YAML file"
        ) from error
    with located(path):
        return _task(_Part.parse(text), None if ours else str(path))


def declare(content: dict[str, Any]) -> Task:
    """The task of a declaration that stands in no file, as of `--annotations pairs.csv --form entailment`.

    Args:
        content: keys and values as in the YAML.

    Raises:
        SchemaError: as `read_declaration`.
    """
    return _task(_Part.parse(yaml.safe_dump(content)), "--form")


class _Part:
    """A mapping of the file, whose keys are taken one by one; what is left at the end is unknown.

    Args:
        node: the mapping.
        what: it is, for messages; empty for the whole file.
    """

    def __init__(self, node: Any, what: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            raise _fault(node, f"{what or 'the declaration'} is not a mapping", "keys with values")
        self.node, self.what = node, what
        self.nodes: dict[str, tuple[Any, Any]] = {}
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise _fault(key, "a key is not text", "a name")
            if key.value in self.nodes:
                raise _fault(key, f"the key {key.value!r} stands twice", "each key once")
            self.nodes[key.value] = (key, value)

    @classmethod
    def parse(cls, text: str) -> "_Part":
        """The whole file."""
        depth = 0
        try:
            for event in yaml.parse(text, _Loader):
                if isinstance(event, yaml.AliasEvent):
                    raise _fault(event, "an alias is not read", "the value itself")
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > _DEEPEST:
                    raise _fault(event, "a value is nested too deeply", "the declaration of a task")
            node = yaml.compose(text, _Loader)
        except (yaml.YAMLError, RecursionError) as error:
            raise SchemaError(
                "this is not YAML", found=" ".join(str(error).split()), expected="the declaration of a task"
            ) from error
        if node is None:
            raise SchemaError("the declaration is empty", expected="at least the keys name and form")
        return cls(node, "")

    def name(self, key: str) -> str:
        return f"{self.what}: {key}" if self.what else key

    def take(self, key: str, read: Callable[[Any, str], T], default: Any = ...) -> T:
        """The value of a key.

        Raises:
            SchemaError: it is not there and has no default.
        """
        if key not in self.nodes:
            if default is ...:
                raise _fault(self.node, f"{self.what or 'the declaration'} lacks the key {key!r}", key)
            return default
        _, node = self.nodes[key]
        return read(node, self.name(key))

    def check(self, known: Collection[str]) -> "_Part":
        """Refuse keys that nothing reads."""
        for key, (node, _) in self.nodes.items():
            if key not in known:
                what = f"{self.what} has an unknown key" if self.what else "unknown key"
                raise _fault(node, f"{what} {key!r}", f"one of {', '.join(sorted(known))}")
        return self

    def plain(self) -> Any:
        """The values without their places, for the digest."""
        return _plain(self.node)


def _fault(node: Any, problem: str, expected: str) -> SchemaError:
    found = f"{node.value!r}" if isinstance(node, yaml.ScalarNode) else None
    return SchemaError(f"line {node.start_mark.line + 1}: {problem}", found=found, expected=expected)


def _plain(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {_plain(key): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        return None
    loader = bounded_loader(yaml.SafeLoader)("")
    try:
        with yaml_errors():
            value = loader.construct_object(node)
    except ValueError as error:
        raise _fault(node, "a value cannot be read", "text, a number, true or false") from error
    finally:
        loader.dispose()
    return value if isinstance(value, bool | int | float | str) or value is None else str(node.value)


def _text(node: Any, what: str) -> str:
    value = _scalar(node)
    if not isinstance(value, str) or not value.strip():
        raise _fault(node, f"{what} is not text", "text (in quotes where it looks like a number)")
    return value


def _licence(node: Any, what: str) -> tuple[str, str]:
    """Of the annotations and of the videos; a text alone is the annotations' own."""
    if isinstance(node, yaml.ScalarNode):
        return _text(node, what), "not stated"
    part = _Part(node, what).check(("annotations", "videos"))
    return part.take("annotations", _text, "not stated"), part.take("videos", _text, "not stated")


def _words(node: Any, what: str) -> str:
    """Text whose white space counts, and which may be empty."""
    value = _scalar(node)
    if not isinstance(value, str):
        raise _fault(node, f"{what} is not text", "text")
    return value


def _flag(node: Any, what: str) -> bool:
    value = _scalar(node)
    if not isinstance(value, bool):
        raise _fault(node, f"{what} is not true or false", "true or false")
    return value


def _number(kind: type) -> Callable[[Any, str], Any]:
    def read(node: Any, what: str) -> Any:
        value = _scalar(node)
        allowed = (int,) if kind is int else (int, float)
        if kind is str:
            return _text(node, what)
        if isinstance(value, bool) or not isinstance(value, allowed) or not value > 0:
            raise _fault(
                node,
                f"{what} is not a {'whole ' if kind is int else ''}number",
                f"a {'whole ' if kind is int else ''}number above 0",
            )
        return kind(value)

    return read


def _texts(node: Any, what: str) -> tuple[str, ...]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise _fault(node, f"{what} is not a list", "a list of texts")
    found = tuple(_text(each, what) for each in node.value)
    if len(set(found)) < len(found):
        raise _fault(node, f"{what} names one twice", "different names")
    return found


def _one_of(names: Collection[str]) -> Callable[[Any, str], Any]:
    def read(node: Any, what: str) -> str:
        value = _text(node, what)
        if value not in names:
            raise _fault(node, f"unknown {what}", f"one of {', '.join(names)}")
        return value

    return read


def _name(node: Any, what: str) -> str:
    value = _text(node, what)
    if not NAME.fullmatch(value):
        raise _fault(node, "the name of a task cannot be used", "lower-case letters, digits, '.', '_', '-'")
    return value


def _source(node: Any, what: str) -> str:
    return normal_source(_text(node, what))


def _column(node: Any, what: str) -> str:
    """A column's name, or a text with columns in braces."""
    value = _text(node, what)
    try:
        names = [(name, spec, way) for _, name, spec, way in Formatter().parse(value) if name is not None]
    except ValueError as error:
        raise _fault(node, f"{what} has a stray brace", "a column, or text with columns in braces") from error
    if any(not name or spec or way for name, spec, way in names):
        raise _fault(node, f"{what} has braces without a column's name", "such as videos/{id}.mp4")
    return value


def _columns(form: TaskForm) -> Callable[[Any, str], dict[str, ColumnSpec]]:
    def read(node: Any, what: str) -> dict[str, ColumnSpec]:
        part = _Part(node, what).check({*form.columns, *COMMON})
        found: dict[str, ColumnSpec] = {}
        for field, (_, value) in part.nodes.items():
            name = part.name(field)
            if isinstance(value, yaml.SequenceNode):
                if field not in form.several:
                    raise _fault(value, f"{name} has several columns", "one column")
                found[field] = tuple(_column(each, name) for each in value.value)
                if len(found[field]) < 2:
                    raise _fault(value, f"{name} lists too few columns", "two or more")
            else:
                found[field] = _column(value, name)
        for needed in form.needed:
            group = (needed,) if isinstance(needed, str) else needed
            if not found.keys() & set(group):
                raise _fault(node, f"{what} lacks {' or '.join(map(repr, group))}", " or ".join(group))
        return found

    return read


def _breakdown(node: Any, what: str) -> dict[str, str]:
    """A list of columns, or names with their columns."""
    if isinstance(node, yaml.MappingNode):
        part = _Part(node, what)
        return {name: part.take(name, _text) for name in part.nodes}
    return {name: name for name in _texts(node, what)}


def _expected(node: Any, what: str) -> dict[str, Expected]:
    part, found = _Part(node, what).check(COUNTS), {}
    for name, (_, value) in part.nodes.items():
        if isinstance(value, yaml.MappingNode):
            inner = _Part(value, part.name(name)).check(("count", "rounded_to"))
            found[name] = Expected(
                inner.take("count", _number(int)), inner.take("rounded_to", _number(int), 1)
            )
        else:
            found[name] = Expected(part.take(name, _number(int)))
    return found


def _frames(node: Any, what: str) -> dict[str, Any]:
    part = _Part(node, what).check(FRAMES)
    if not part.nodes or {"count", "fps"} <= part.nodes.keys():
        raise _fault(node, f"{what} is not a way to choose frames", "count, fps, or rule with count")
    return {name: part.take(name, _number(FRAMES[name])) for name in part.nodes}


def _checked(node: Any, what: str) -> tuple[CheckedFile, ...]:
    """One file with its digest, or a list of them."""
    if isinstance(node, yaml.SequenceNode) and node.value:
        return tuple(file for each in node.value for file in _checked(each, what))
    part = _Part(node, what).check(("file", "sha256"))
    return (CheckedFile(part.take("file", _text), part.take("sha256", _sha256)),)


def _sha256(node: Any, what: str) -> str:
    """The digits as they stand: digits alone would be read as a number."""
    if not isinstance(node, yaml.ScalarNode) or not _DIGEST.fullmatch(node.value):
        raise _fault(node, f"{what} is no digest", "64 lower-case hex digits")
    return str(node.value)


# By what they say: who, what it measures, where from, what may be done with it.
_KEYS = frozenset(
    ("name", "title", "description", "column", "form", "source", "files", "all_files", "columns", "levels")
    + ("option_lines", "breakdown", "split", "only_hard", "prompt", "answer_prompt", "scored_as", "frames")
    + ("metric", "main_score", "expected", "homepage", "hub", "licence", "citation", "train")
    + ("checked_against", "unchecked")
)


def _task(part: _Part, file: str | None) -> Task:
    part.check(_KEYS)
    name = part.take("name", _name)
    form = part.take("form", _one_of(tuple(FORMS)))
    about = FORMS[form]
    hub = part.take(
        "hub", lambda node, what: _Part(node, what).check(("path", "files", "revision", "note")), None
    )
    licence, video_licence = part.take("licence", _licence, ("not stated", "not stated"))
    columns = part.take("columns", _columns(about), None)
    if columns is None and file is not None:
        columns = {}  # the common names
    # Keys that only mean something beside others.
    for key, fits, beside in (
        ("scored_as", about.questions, "a form with questions"),
        ("answer_prompt", about.questions, "a form with questions"),
        ("option_lines", "options" in about.columns, "a form with options"),
        ("breakdown", columns is not None, "columns"),
        ("levels", columns is not None, "columns"),
        ("only_hard", columns is None or "hard" in about.columns, "a form with the column hard"),
    ):
        if key in part.nodes and not fits:
            raise _fault(part.nodes[key][0], f"{key} does not fit this declaration", beside)
    checked = part.take("checked_against", _checked, ())
    unchecked = part.take("unchecked", _flag, None)
    if checked and unchecked:
        raise _fault(
            part.nodes["unchecked"][0], "checked_against and unchecked contradict each other", "one of them"
        )
    if not checked and unchecked is False:
        raise _fault(
            part.nodes["unchecked"][0], "nothing says what it was checked against", "checked_against"
        )
    hub_path = None if hub is None else hub.take("path", _text, None)
    title = part.take("title", _text, name)
    asks = columns is not None and "options" in about.columns
    content = json.dumps(part.plain(), sort_keys=True, ensure_ascii=False, default=str)
    return Task(
        name=name,
        title=title,
        description=part.take("description", _text, title),
        form=form,
        source=part.take("source", _source, None),
        files=part.take("files", _texts, ()),
        all_files=part.take("all_files", _flag, False),
        columns=columns,
        levels=part.take("levels", _texts, ()),
        option_lines=part.take("option_lines", _flag, False),
        breakdown_columns=part.take("breakdown", _breakdown, {}),
        homepage=part.take("homepage", _text, "not stated"),
        hub_path=hub_path,
        hub_files=() if hub is None else hub.take("files", _texts, ()),
        hub_revision=None if hub is None else hub.take("revision", _text, hub_path and pinned(hub_path)),
        hub_note="Not on the Hub." if hub is None else hub.take("note", _text, "On the Hub."),
        licence=licence,
        video_licence=video_licence,
        citation=part.take("citation", _text, ""),
        prompt=part.take("prompt", _one_of(tuple(PROMPTS)), "question"),
        answer_prompt=part.take("answer_prompt", _words, ""),
        scored_as=part.take("scored_as", _one_of(("letter", "statement")), "letter" if asks else None),
        frames=part.take("frames", _frames, None),
        metric=part.take("metric", _one_of((about.metric,)), about.metric),
        main_score=part.take("main_score", _text, about.main_score),
        column=part.take("column", _text, title),
        expected=part.take("expected", _expected, {}),
        split=part.take("split", _text, None),
        only_hard=part.take("only_hard", _flag, False),
        train=part.take("train", _one_of(("allowed", "never")), "allowed"),
        checked=checked,
        digest=hashlib.sha256(content.encode()).hexdigest()[:16],
        file=file,
    )
