"""What a benchmark is, as data: where it comes from, what it measures, how large it should be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .published import COLUMNS, PublishedResult, published_results

# A column's name, a text with columns in braces (`videos/{id}.mp4`), or several of either.
ColumnSpec = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """A count that the paper or the released files give; `rounded_to` for "27K"."""

    count: int
    rounded_to: int = 1

    def fits(self, found: int) -> bool:
        return abs(found - self.count) * 2 <= self.rounded_to if self.rounded_to > 1 else found == self.count


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that a declaration was checked against.

    Attributes:
        file: its name.
        sha256: 64 hex digits of its bytes.
    """

    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark, read from a declaration (`read_declaration`); docs/tasks.md describes each key.

    Attributes:
        name: as in `--task`.
        title, description: for people.
        form: what the rows are, a module of `synvita_data.annotations`: entailment (captions and contrast captions of
            videos), retrieval (rank all videos for each caption), choice (pick one of several options), groups (two
            videos and two captions), yes_no (questions) or pairs (questions that must both be answered right).
        source: name of the videos' dataset (`real_videos` finds them by it); None where rows say it.
        files: names under which the annotation files are published, best first; all of them with `all_files`.
        all_files: the annotations are all of `files` together, not the first that is there.
        columns: field -> where it stands in the files; None for the six benchmarks whose published files have readers
            of their own.
        levels: what the keys of nested JSON objects are, outermost first: `(video, aspect)`.
        option_lines: the options of a question stand in it, one a line, behind its first line.
        breakdown_columns: name of a breakdown -> its column.
        hub_path, hub_files, hub_revision: where they lie on the Hub and the pinned commit; None: see
            `hub_note`.
        homepage: where to get them otherwise.
        licence: of the annotations.
        video_licence: of the videos, which are never redistributed.
        citation: BibTeX.
        prompt: the question that is asked, a name in `prompts.PROMPTS`; a model family may put it into the
            chat template it was trained with, and records that.
        answer_prompt: what stands behind a question.
        scored_as: how questions with options are scored: `letter` (the published way: log-probability of the option's
            letter) or `statement` (question and option as a caption, in our wording); None where there are none.
        frames: settings of a `FramePolicy` (count, fps, rule); None: as the model was trained.
        metric: a module of `synvita_data.evaluate_metrics`.
        main_score: its entry that stands in the table.
        column: heading of the task in the paper's Table 3 and on the leaderboard.
        expected: counts of `Annotations.counts()`; a mismatch is reported and is no error.
        split: the split to take, None for all.
        only_hard: only rows with `hard` true.
        train: whether training on it is allowed; `never` makes training refuse its pairs.
        checked: files that the declaration was checked against; empty for one that is unchecked.
        digest: 16 hex digits over what the declaration says; joins the key of a run, but for the six of the paper.
        file: the declaration of a user; None for ours.
    """

    name: str
    title: str
    description: str
    form: str
    source: str | None = None
    files: tuple[str, ...] = ()
    all_files: bool = False
    columns: Mapping[str, ColumnSpec] | None = None
    levels: tuple[str, ...] = ()
    option_lines: bool = False
    breakdown_columns: Mapping[str, str] = field(default_factory=dict)
    homepage: str
    hub_path: str | None = None
    hub_files: tuple[str, ...] = ()
    hub_revision: str | None = None
    hub_note: str
    licence: str
    video_licence: str
    citation: str
    prompt: str = "question"
    answer_prompt: str = ""
    scored_as: Literal["letter", "statement"] | None = None
    frames: Mapping[str, Any] | None = None
    metric: str
    main_score: str
    column: str
    expected: Mapping[str, Expected] = field(default_factory=dict)
    split: str | None = None
    only_hard: bool = False
    train: Literal["allowed", "never"] = "allowed"
    checked: tuple[CheckedFile, ...] = ()
    digest: str = ""
    file: str | None = None

    @property
    def published(self) -> tuple[PublishedResult, ...]:
        """The paper's rows that have a number for this task, in the paper's order."""
        return published_results(self.name)

    @property
    def key_parts(self) -> dict[str, str]:
        """What joins the key of a run beside the task's name; nothing for the six of the paper, whose stored work
        has none."""
        return {} if self.name in COLUMNS or not self.digest else {"declaration": self.digest}

    def mismatches(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """One sentence for each expected count that `counts` does not meet."""
        return tuple(
            f"{name}: found {counts[name]:,}, expected {expected.count:,}"
            + (f" (rounded to {expected.rounded_to:,})" if expected.rounded_to > 1 else "")
            for name, expected in self.expected.items()
            if not expected.fits(counts[name])
        )
