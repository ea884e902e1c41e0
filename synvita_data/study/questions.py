"""`questions.yaml`: what the study asks, read and checked. Imports nothing heavy."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import SchemaError, choose, located, parsing
from ..files import parse_yaml
from ..schema import MISALIGNMENTS
from ..weights import WEIGHTINGS

QUESTIONS = Path(__file__).with_name("questions.yaml")
FORMAT = 1
CLIPS = ("none", "generated", "contrast-real", "grey", "shuffled")
# Weights of this room, made from the rows of a cell together, beside those of `synvita_data.weights`.
OWN_WEIGHTS = ("mean-one", "constant", "oracle", "top-half", "bottom-half", "random-half")
DEFAULT = "default"  # the setting of a question that names none


# Fields of a recipe that act on synthetic clips alone, and those of training.
_OF_CLIPS = ("noise", "reverted", "shift", "clips", "weights", "scr_weight", "margin")
_OF_TRAINING = ("batch", "learning_rate", "warmup_steps", "rank", "dropout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a cell is made of but its seed and the model.

    Attributes:
        version: of the shapes world.
        pairs: training triplets.
        test_pairs: of each test set.
        misalignments: kinds of contrast that are trained.
        unseen: words that training names in contrast captions only.
        share: of the contrast captions that can name one of them, how many do.
        noise: factor on the generator's rates of random faults, or a named noise of the world.
        reverted: share of the clips that show the real caption instead.
        shift: how unlike real clips synthetic ones look, 0 to 1.
        clips: one of CLIPS: none; the generator's; clips of the contrast captions that look real; grey ones; the
            generator's clips of other rows.
        weights: a name in `WEIGHTINGS` or OWN_WEIGHTS.
        scr_weight: λ.
        margin: γ.
        steps: optimizer steps; 0 trains nothing.
        batch: triplets a step.
        learning_rate, warmup_steps: of the cosine schedule.
        rank, dropout: of the adapter.
    """

    version: int
    pairs: int
    test_pairs: int
    misalignments: tuple[str, ...]
    unseen: tuple[str, ...]
    share: float
    noise: str
    reverted: float
    shift: float
    clips: str
    weights: str
    scr_weight: float
    margin: float
    steps: int
    batch: int
    learning_rate: float
    warmup_steps: int
    rank: int
    dropout: float

    def __post_init__(self) -> None:
        choose(self.clips, CLIPS, "kind of clips", error=SchemaError)
        choose(self.weights, (*WEIGHTINGS, *OWN_WEIGHTS), "weights", error=SchemaError)
        if self.clips not in ("none", "generated") and self.weights != "fixed":
            raise SchemaError(
                "only the generator's clips have scores to weigh them by",
                found=f"clips {self.clips} with weights {self.weights}",
                expected="weights fixed",
            )
        for kind in self.misalignments:
            choose(kind, MISALIGNMENTS, "misalignment", error=SchemaError)
        for name in ("share", "reverted", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise SchemaError(f"{name} is out of range", found=getattr(self, name), expected="0 to 1")
        try:
            factor = float(self.noise)
        except ValueError:  # a name, which the world knows
            factor = 1.0
        if not 0 <= factor < math.inf:
            raise SchemaError(
                "noise is out of range", found=self.noise, expected="a factor from 0, or a name"
            )
        for name in ("scr_weight", "steps"):
            if getattr(self, name) < 0:
                raise SchemaError(f"{name} is out of range", found=getattr(self, name), expected="from 0")
        if self.batch < 1 or self.rows < self.batch:
            raise SchemaError(
                "too few pairs for a cell",
                found=f"{self.rows} pairs of {', '.join(self.misalignments)} for batches of {self.batch}",
                expected="at least a batch of them",
                fix="Raise `pairs`, or lower `batch`",
            )
        if self.test_pairs < len(MISALIGNMENTS):
            raise SchemaError(
                "too few pairs for a test set",
                found=f"{self.test_pairs} test pairs",
                expected=f"at least {len(MISALIGNMENTS)}, one of each misalignment",
                fix="Raise `test_pairs`",
            )

    @property
    def rows(self) -> int:
        """How many triplets are trained: pairs are dealt over the misalignments in turn."""
        places = {MISALIGNMENTS.index(kind) for kind in self.misalignments}
        return sum(k % len(MISALIGNMENTS) in places for k in range(self.pairs))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Recipe":
        """From a mapping with every field, and no other.

        Raises:
            SchemaError: a name is unknown or missing, or a value is of another kind.
        """
        _check_names(values, cls)
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        for name, value in plain.items():
            _check_kind(name, value)
        return cls(**plain)

    def changed(self, change: Mapping[str, Any]) -> "Recipe":
        """This recipe with other values.

        Raises:
            SchemaError: as of `of`.
        """
        return Recipe.of({each.name: getattr(self, each.name) for each in fields(self)} | dict(change))

    def essence(self) -> dict[str, Any]:
        """What a cell's numbers depend on: without settings that act on nothing here, so that arms that differ in no
        other (`none` in a noisy and in a clean world) are one cell."""
        idle: set[str] = set()
        if not self.steps:
            idle |= {*_OF_CLIPS, *_OF_TRAINING, "pairs", "misalignments", "share"}
        if self.clips == "none":
            idle |= set(_OF_CLIPS)
        if self.clips in ("contrast-real", "grey"):
            idle |= {"noise", "reverted", "shift"}
        if not self.scr_weight:
            idle |= {"margin"}
        return {name: value for name, value in self.record().items() if name not in idle}

    def record(self) -> dict[str, Any]:
        """JSON-ready, for keys and result files."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Variant:
    """An arm or a setting: a title, and what it changes in the recipe."""

    name: str
    title: str
    change: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CellName:
    """Which cell of a question: arm, setting, seed."""

    arm: str
    setting: str
    seed: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """That the first arm is better than the second in an outcome, and why one would think so."""

    first: str
    second: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        name: on the command line.
        title: what it asks.
        seeds: how many are planned.
        arms: in the order of tables.
        settings: by name; `default` alone where the question has none.
        only: setting -> arms that are run in it; all where it is not named.
        outcomes: test sets.
        compare: pairs of arms, the first minus the second.
        decide: the outcomes over which Holm's correction runs.
        expect: what the paper says, so that the page can say what did not reproduce.
    """

    name: str
    title: str
    seeds: int
    arms: tuple[str, ...]
    settings: Mapping[str, Variant]
    only: Mapping[str, tuple[str, ...]]
    outcomes: tuple[str, ...]
    compare: tuple[tuple[str, str], ...]
    decide: tuple[str, ...]
    expect: tuple[Expectation, ...]

    def cells(self, seeds: Sequence[int]) -> list[CellName]:
        """All cells, seed by seed, so that an interrupted run has whole seeds; `before` and `none` once a seed."""
        return [
            CellName(arm, setting, seed)
            for seed in seeds
            for setting in self.settings
            for arm in self.arms
            if arm in self.only.get(setting, self.arms)
        ]


@dataclass(frozen=True, slots=True)
class Study:
    """All that `questions.yaml` says.

    Attributes:
        model: that every cell starts from.
        cell: the recipe that arms and settings change.
        pilots: what was tried before the sizes were chosen.
        outcomes: name -> title.
        arms, questions: by name.
        file: where it was read.
    """

    model: str
    cell: Recipe
    pilots: str
    outcomes: Mapping[str, str]
    arms: Mapping[str, Variant]
    questions: Mapping[str, Question]
    file: Path = field(default=QUESTIONS)

    def question(self, name: str) -> Question:
        """A question by its name.

        Raises:
            SchemaError: there is none of this name.
        """
        return self.questions[choose(name, self.questions, "question", error=SchemaError)]

    def recipe(self, question: Question, cell: CellName) -> Recipe:
        """What a cell of a question is made of."""
        own = self.cell.changed(question.settings[cell.setting].change)
        return own.changed(self.arms[cell.arm].change)

    def smaller(self, **change: Any) -> "Study":
        """The same study with other sizes, for trials and tests."""
        return replace(self, cell=self.cell.changed(change))


def read_questions(path: Path = QUESTIONS) -> Study:
    """Read and check a file of questions.

    Raises:
        SchemaError: it is not one; the message says where.
    """
    with located(path), parsing("a file of questions has another form", file=path):
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SchemaError("a file of questions cannot be read", found=error.strerror) from error
        content = parse_yaml(text)
        if content["format"] != FORMAT:
            raise SchemaError("unknown format of questions", found=content["format"], expected=FORMAT)
        arms = {name: _variant(name, own) for name, own in content["arms"].items()}
        study = Study(
            model=str(content["model"]),
            cell=Recipe.of(content["cell"]),
            pilots=str(content["pilots"]),
            outcomes={str(name): str(title) for name, title in content["outcomes"].items()},
            arms=arms,
            questions={
                name: _question(name, own, arms, content["outcomes"])
                for name, own in content["questions"].items()
            },
            file=path,
        )
        # Every recipe is made once, so that a wrong one is found before the first run.
        for question in study.questions.values():
            for cell in question.cells([0]):
                study.recipe(question, cell)
        return study


def _variant(name: str, content: Mapping[str, Any]) -> Variant:
    _check_names(content, Variant, left_out=("name",))
    _check_names(content["change"], Recipe, some=True)
    return Variant(name, str(content["title"]), dict(content["change"]))


def _question(
    name: str, content: Mapping[str, Any], arms: Collection[str], outcomes: Collection[str]
) -> Question:
    _check_names(content, Question, left_out=("name", "settings", "only"), optional=("settings", "only"))
    settings = content.get("settings", {DEFAULT: {"title": DEFAULT, "change": {}}})
    own = tuple(content["arms"])
    question = Question(
        name,
        title=str(content["title"]),
        seeds=int(content["seeds"]),
        arms=own,
        settings={each: _variant(each, change) for each, change in settings.items()},
        only={each: tuple(only) for each, only in content.get("only", {}).items()},
        outcomes=tuple(content["outcomes"]),
        compare=tuple((first, second) for first, second in content["compare"]),
        decide=tuple(content["decide"]),
        expect=tuple(Expectation(*map(str, each)) for each in content["expect"]),
    )
    # Names point at what there is.
    for arm in own:
        choose(arm, arms, "arm", error=SchemaError)
    for outcome in (*question.outcomes, *question.decide):
        choose(outcome, outcomes, "outcome", error=SchemaError)
    for arm in (arm for pair in question.compare for arm in pair):
        choose(arm, own, f"arm of {name}", error=SchemaError)
    for each in question.expect:
        if (each.first, each.second) not in question.compare or each.outcome not in question.decide:
            raise SchemaError(
                "an expectation is not compared",
                found=f"{each.first}, {each.second}, {each.outcome} of {name}",
                expected="a pair of `compare` and an outcome of `decide`",
            )
    for setting, only in question.only.items():
        choose(setting, question.settings, f"setting of {name}", error=SchemaError)
        for arm in only:
            choose(arm, own, f"arm of {name}", error=SchemaError)
    return question


def _check_names(
    values: Mapping[str, Any],
    form: type,
    *,
    left_out: Collection[str] = (),
    optional: Collection[str] = (),
    some: bool = False,
) -> None:
    """Complain about names that a dataclass does not have, and (but for `some`) about its own that are not there."""
    names = {each.name for each in fields(form)} - set(left_out)
    for name in values:
        choose(name, sorted(names | set(optional)), f"field of {form.__name__.lower()}", error=SchemaError)
    if not some and (missing := sorted(names - set(values))):
        raise SchemaError(f"a {form.__name__.lower()} lacks fields", expected=", ".join(missing))


def _check_kind(name: str, value: Any) -> None:
    """Complain about a value of a recipe that is of another kind than its annotation says."""
    annotation: Any = {each.name: each.type for each in fields(Recipe)}[name]
    right = {
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, int | float) and not isinstance(value, bool),
        str: isinstance(value, str),
    }.get(annotation, isinstance(value, tuple) and all(isinstance(each, str) for each in value))
    if not right:
        raise SchemaError(f"{name} is of another kind", found=repr(value), expected=str(annotation))
