"""What the report of a demo says, as plain data: clips, examples, scores of arms, and what became of unseen concepts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Clip:
    """A short video as two pictures.

    Attributes:
        moving: an animated picture.
        kind: of it, `webp` or `gif`.
        still: a PNG of four frames side by side, for those who want nothing to move.
        width, height: of `moving`, pixels.
    """

    moving: bytes
    kind: str
    still: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A triplet with its clips.

    Attributes:
        row_id: of the dataset's row.
        misalignment: between the two captions.
        caption, contrast: what is true of the real video, and what the synthetic one was made from.
        hidden, hidden_contrast: parts of each that the other does not have, which a masked caption hides.
        real, synthetic: the clips; None where a file cannot be shown.
        right: whether the synthetic clip shows what the contrast caption says in the contrasted fact.
        faults: kinds of fault that it has. This, too, only the world knows.
        shown: the caption that is true of the synthetic clip.
        weight: ω; None where it is not known.
        difference: f̄(V^s, t^s) − f̄(V^s, t^r); None where there are no scores.
        unseen: concepts in the contrast caption that no true caption of the training set names.
    """

    row_id: str
    misalignment: str
    caption: str
    contrast: str
    hidden: tuple[Span, ...] = ()
    hidden_contrast: tuple[Span, ...] = ()
    real: Clip | None = None
    synthetic: Clip | None = None
    right: bool = True
    faults: tuple[str, ...] = ()
    shown: str = ""
    weight: float | None = None
    difference: float | None = None
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """The main score of an arm on a test set, percent, beside that of the model before fine-tuning.

    Attributes:
        value, low, high: the score and its 95% bootstrap interval over the test videos.
        n: texts that were scored.
        change: `value` minus the score before fine-tuning, percentage points; None for the model itself.
        change_low, change_high: its paired 95% interval.
        p: of no change, two-sided.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to fine-tune, or the model before.

    Attributes:
        name: as of the study's arms.
        title: for people.
        scores: test set -> its score.
        concepts: unseen concept -> (pairs put in the right order, pairs), of true captions that name it.
        facts: of its training, such as seconds and the last loss.
    """

    name: str
    title: str
    scores: Mapping[str, Score] = field(default_factory=dict)
    concepts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything on the page.

    Attributes:
        facts: of the run, in order.
        sets: test set -> title.
        metric: name of the main score of each set.
        arms: `before` first.
        unseen: the set of the concepts that training names in contrast captions only.
        examples: triplets to look at.
        figure: the paper's Figure 2 of this run, as SVG; None where there are no scores.
        differences: misalignment -> mean of f̄(V^s, t^s) − f̄(V^s, t^r).
        wrong: how many synthetic clips are wrong in the contrasted fact, and how many there are.
        weights: mean ω of right and of wrong ones; None where there is none.
        steps: title, command and seconds of each.
        missing: why there are no arms, where there are none.
    """

    facts: Mapping[str, str]
    sets: Mapping[str, str] = field(default_factory=dict)
    metric: Mapping[str, str] = field(default_factory=dict)
    arms: tuple[Arm, ...] = ()
    unseen: str = "unseen"
    examples: tuple[Example, ...] = ()
    figure: bytes | None = None
    differences: Mapping[str, float] = field(default_factory=dict)
    wrong: tuple[int, int] = (0, 0)
    weights: tuple[float | None, float | None] = (None, None)
    steps: tuple[tuple[str, str, float], ...] = ()
    missing: str | None = None
