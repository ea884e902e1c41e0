"""`expected.yaml`: what a table is recomputed from, and how far off a number may be; read and checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from ..captions.prompts import PROMPTS
from ..errors import SchemaError, choose, located
from ..files import parse_yaml
from ..tasks import MODELS, TASKS, PublishedResult, published_results

EXPECTED = Path(__file__).with_name("expected.yaml")
FORMAT = 1
AS_IT_IS = "none"  # files that another conversion reads
# Kinds of `synvita convert`; those of an adapter need a base.
CONVERSIONS = ("mplug-owl", "mplug-owl-lora", "video-llava", "video-llava-lora", AS_IT_IS)

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from the paper's value a task's may be.

    Attributes:
        points: of percent, above 0.
        why: the reasoning.
    """

    points: float
    why: str


@dataclass(frozen=True, slots=True)
class Jitter:
    """Noise on log-odds that stands for rounding and for another decoder.

    Attributes:
        sigma: standard deviation of the noise.
        draws: how often the metric is taken.
        level: share of the values inside the band.
        seed: of the noise.
        why: the reasoning.
    """

    sigma: float
    draws: int
    level: float
    seed: int
    why: str


@dataclass(frozen=True, slots=True)
class Flips:
    """Other random mirrorings of the released evaluation.

    Attributes:
        seeds: how many.
        level: share of the values inside the band.
        why: the reasoning.
    """

    seeds: int
    level: float
    why: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How every row is evaluated.

    Attributes:
        dtype: of the weights.
        backend: decoder of videos.
    """

    dtype: str
    backend: str


@dataclass(frozen=True, slots=True)
class CheckpointSource:
    """Where a checkpoint comes from and what is done to it.

    Attributes:
        repository: Hub id, or a folder with the same files.
        convert: KIND of `synvita convert`; `none` for what another conversion reads.
        files: patterns of the files that are needed.
        revision: commit; None where none is known.
        base: name of the checkpoint that an adapter goes on; None for a whole model.
        towers: name of the checkpoint that the video tower is taken from; None for its own.
        gib: GiB of GPU memory that evaluation takes; None for an adapter, which needs its base's.
        note: what a reader should know.
    """

    repository: str
    convert: str
    files: tuple[str, ...]
    revision: str | None = None
    base: str | None = None
    towers: str | None = None
    gib: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedRow:
    """A row of the table.

    Attributes:
        paper: the model as the paper's Table 3 names it.
        checkpoint: name of its checkpoint; None where it is not public.
        prompt: name of the wording.
        not_public: why there is no checkpoint.
        values: task -> percent that the row is compared with, for a row that is not the paper's.
    """

    paper: str
    checkpoint: str | None = None
    prompt: str | None = None
    not_public: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    def published(self, task: str) -> PublishedResult | None:
        """The number that a cell is compared with; None where there is none."""
        if task in self.values:
            value = self.values[task]
            return PublishedResult(self.paper, task, value, len(repr(value).partition(".")[2]), False)
        return next((each for each in published_results(task) if each.model == self.paper), None)


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """Where the inputs of a task come from.

    Attributes:
        annotations: in words.
        videos: in words.
    """

    annotations: str
    videos: str


@dataclass(frozen=True, slots=True)
class Expected:
    """The whole file.

    Attributes:
        tolerances, inputs: by task.
        jitter, flips, evaluate: as their classes say.
        checkpoints, rows: by name, in the order of the file.
        pairs: names of two rows, baseline first, whose order is looked at.
        fixed: the day on which the tolerances were fixed.
        file: name of the file that was read.
        packaged: it is the package's own, and not a user's copy.
    """

    tolerances: Mapping[str, Tolerance]
    jitter: Jitter
    flips: Flips
    evaluate: Settings
    checkpoints: Mapping[str, CheckpointSource]
    rows: Mapping[str, ExpectedRow]
    pairs: tuple[tuple[str, str], ...]
    inputs: Mapping[str, TaskInputs]
    fixed: str
    file: str
    packaged: bool

    def chain(self, row: str) -> tuple[str, ...]:
        """Names of the checkpoints that a row needs, the base first; empty for one that is not public."""
        name, found = self.rows[row].checkpoint, []
        while name is not None:
            found.append(name)
            name = self.checkpoints[name].base
        return tuple(reversed(found))

    def needs(self, row: str) -> tuple[str, ...]:
        """Names of all checkpoints that a row needs, in the order in which they are made ready."""
        found: list[str] = []
        for name in self.chain(row):
            towers = self.checkpoints[name].towers
            found += [name] if towers is None else [towers, name]
        return tuple(found)

    def gib(self, row: str) -> float | None:
        """GiB of GPU memory of a row; None where unknown."""
        known = [self.checkpoints[name].gib for name in self.chain(row)]
        return next((each for each in known if each is not None), None)

    def choose_rows(self, names: Sequence[str] = ()) -> tuple[str, ...]:
        """The rows of these names in the file's order; all where none is named.

        Raises:
            SynvitaError: an unknown row.
        """
        for name in names:
            choose(name, self.rows, "row")
        return tuple(row for row in self.rows if not names or row in names)

    def choose_tasks(self, names: Sequence[str] = ()) -> tuple[str, ...]:
        """The tasks of these names in the table's order; all where none is named.

        Raises:
            SynvitaError: an unknown task.
        """
        for name in names:
            choose(name, self.tolerances, "task")
        return tuple(task for task in self.tolerances if not names or task in names)


def read_expected(path: str | Path = EXPECTED) -> Expected:
    """Read and check a file such as `expected.yaml`.

    Raises:
        SchemaError: not YAML; a key is unknown, missing or of another type; a name that nothing has.
    """
    path = Path(path)
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaError(
            "the file of expected results cannot be read", file=path, found=str(error)
        ) from error
    with located(path):
        return _checked(content, path)


def _checked(content: Any, path: Path) -> Expected:
    keys = {each.name for each in fields(Expected)} - {"file", "packaged"} | {"format"}
    _check_keys(content, keys, keys, "the file")
    if content["format"] != FORMAT:
        raise SchemaError("the file has another format", found=content["format"], expected=FORMAT)
    read = Expected(
        tolerances=_named(content["tolerances"], Tolerance, "tolerances"),
        jitter=_part(content["jitter"], Jitter, "jitter"),
        flips=_part(content["flips"], Flips, "flips"),
        evaluate=_part(content["evaluate"], Settings, "evaluate"),
        checkpoints=_named(content["checkpoints"], CheckpointSource, "checkpoints"),
        rows=_named(content["rows"], ExpectedRow, "rows"),
        pairs=_pairs(content["pairs"]),
        inputs=_named(content["inputs"], TaskInputs, "inputs"),
        fixed=str(content["fixed"]),
        file=path.name,
        packaged=path.resolve() == EXPECTED.resolve(),
    )
    # Numbers that mean something.
    for task, tolerance in read.tolerances.items():
        choose(task, TASKS, "task in tolerances", error=SchemaError)
        _check(tolerance.points > 0, f"tolerances: {task}: points", tolerance.points, "above 0")
    _check(read.jitter.sigma >= 0, "jitter: sigma", read.jitter.sigma, "0 or more")
    _check(read.jitter.draws > 0, "jitter: draws", read.jitter.draws, "1 or more")
    _check(read.flips.seeds > 0, "flips: seeds", read.flips.seeds, "1 or more")
    for name, level in (("jitter", read.jitter.level), ("flips", read.flips.level)):
        _check(0 < level < 1, f"{name}: level", level, "between 0 and 1")
    _check_names(read)
    return read


def _check_names(read: Expected) -> None:
    """Every name that is used is one that the file or the package has."""
    for name, source in read.checkpoints.items():
        choose(source.convert, CONVERSIONS, f"conversion of checkpoint {name}", error=SchemaError)
        patterns = bool(source.files) and all(isinstance(each, str) for each in source.files)
        _check(patterns, f"checkpoints: {name}: files", source.files, "a list of patterns")
        needs_base = source.convert.endswith("-lora")
        _check(
            (source.base is not None) == needs_base,
            f"checkpoints: {name}: base",
            source.base,
            "a name" if needs_base else "none",
        )
        if source.towers is not None:
            choose(source.towers, read.checkpoints, f"towers of checkpoint {name}", error=SchemaError)
            fits = read.checkpoints[source.towers].convert == AS_IT_IS and source.convert == "video-llava"
            _check(
                fits, f"checkpoints: {name}: towers", source.towers, "converted as none, for a video-llava"
            )
        if source.base is not None:
            choose(source.base, read.checkpoints, f"base of checkpoint {name}", error=SchemaError)
            _check(
                read.checkpoints[source.base].base is None,
                f"checkpoints: {name}: base",
                source.base,
                "a whole model",
            )
    for name, row in read.rows.items():
        _check(
            (row.checkpoint is None) == (row.not_public is not None),
            f"rows: {name}",
            repr(row.checkpoint),
            "either checkpoint or not_public",
        )
        if row.checkpoint is not None:
            choose(row.checkpoint, read.checkpoints, f"checkpoint of row {name}", error=SchemaError)
        if row.prompt is not None:
            choose(row.prompt, PROMPTS, f"prompt of row {name}", error=SchemaError)
        if not row.values:
            choose(row.paper, MODELS, f"model of the paper in row {name}", error=SchemaError)
        for task, value in row.values.items():
            choose(task, read.tolerances, f"task in the values of row {name}", error=SchemaError)
            _check(isinstance(value, int | float), f"rows: {name}: values: {task}", value, "a number")
    for pair in read.pairs:
        for name in pair:
            choose(name, read.rows, "row in pairs", error=SchemaError)
    _check(set(read.inputs) == set(read.tolerances), "inputs", sorted(read.inputs), sorted(read.tolerances))


def _check(fits: bool, what: str, found: object, expected: object) -> None:
    if not fits:
        raise SchemaError(f"{what} is not usable", found=found, expected=expected)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise SchemaError("pairs is not usable", found=repr(value), expected="a list of lists of two rows")
    return tuple((str(first), str(second)) for first, second in value)


def _named(value: Any, kind: type[Part], what: str) -> dict[str, Part]:
    if not isinstance(value, dict) or not value:
        raise SchemaError(f"{what} is not usable", found=repr(value), expected="names with their settings")
    return {str(name): _part(each, kind, f"{what}: {name}") for name, each in value.items()}


def _part(value: Any, kind: type[Part], what: str) -> Part:
    """A dataclass of these settings.

    Raises:
        SynvitaError: a key is unknown, missing or of another type.
    """
    known: Mapping[str, Any] = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    needed = [
        name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING
    ]
    _check_keys(value, known, needed, what)
    read = {}
    for name, each in value.items():
        wanted = known[name].type
        read[name] = tuple(each) if get_origin(wanted) is tuple and isinstance(each, list) else each
        if not any(_fits(read[name], form) for form in _forms(wanted)):
            words = getattr(wanted, "__name__", str(wanted))
            raise SchemaError(f"{what}: {name} is of another type", found=repr(each), expected=words)
    return kind(**read)


def _forms(wanted: Any) -> list[Any]:
    """The classes that an annotation allows: of `tuple[str, ...] | None` the tuple and None's."""
    each = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    return [get_origin(form) or form for form in each]


def _fits(value: Any, form: Any) -> bool:
    """Whether a value is of a type; numbers may be whole where they need not, and no switch is a number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float if form is float else form)


def _check_keys(value: Any, known: Iterable[str], needed: Iterable[str], what: str) -> None:
    if not isinstance(value, dict):
        raise SchemaError(f"{what} is not usable", found=repr(value), expected="keys with values")
    if unknown := [key for key in value if key not in set(known)]:
        raise SchemaError(f"{what} has an unknown key", found=unknown[0], expected=", ".join(sorted(known)))
    if missing := [key for key in needed if key not in value]:
        raise SchemaError(f"{what} lacks a key", expected=sorted(missing)[0])
