"""What a benchmark is, as data: where it comes from, what it measures, how large it should be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .published import PublishedResult, published_results

if TYPE_CHECKING:
    from ..video import FramePolicy


@dataclass(frozen=True, slots=True)
class Expected:
    """A count that the paper or the released files give; `rounded_to` for "27K"."""

    count: int
    rounded_to: int = 1

    def fits(self, found: int) -> bool:
        return abs(found - self.count) * 2 <= self.rounded_to if self.rounded_to > 1 else found == self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark.

    Attributes:
        name: as in `--task`. title, description: for people.
        form: what the rows are, a module of `synvita_data.annotations`: entailment (captions and contrast captions of
            videos), retrieval (rank all videos for each caption) or choice (pick one of five statements).
        source: name of the videos' dataset (`real_videos` finds them by it); None where rows say it.
        files: names under which the annotation files are published, best first.
        hub_path, hub_files, hub_revision: where they lie on the Hub and the pinned commit; None: see
            `hub_note`.
        homepage: where to get them otherwise.
        licence: of the annotations. video_licence: of the videos, which are never redistributed.
        citation: BibTeX.
        prompt: the question that is asked, a name in `prompts.PROMPTS`; a model family may put it into the
            chat template it was trained with, and records that.
        frames: how frames are chosen; None: as the model was trained.
        metric: a module of `synvita_data.evaluate_metrics`. main_score: its entry that stands in the table.
        column: heading of the task in the paper's Table 3 and on the leaderboard.
        expected: counts of `Annotations.counts()`; a mismatch is reported and is no error.
        split: VideoCon's split to take, None for all. only_hard: only rows with `hard` true.
    """

    name: str
    title: str
    description: str
    form: str
    source: str | None
    files: tuple[str, ...]
    homepage: str
    hub_path: str | None
    hub_files: tuple[str, ...] = ()
    hub_revision: str | None
    hub_note: str
    licence: str
    video_licence: str
    citation: str
    prompt: str = "question"
    frames: "FramePolicy | None" = None
    metric: str
    main_score: str
    column: str
    expected: Mapping[str, Expected] = field(default_factory=dict)
    split: str | None = None
    only_hard: bool = False

    @property
    def published(self) -> tuple[PublishedResult, ...]:
        """The paper's rows that have a number for this task, in the paper's order."""
        return published_results(self.name)

    def mismatches(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """One sentence for each expected count that `counts` does not meet."""
        return tuple(
            f"{name}: found {counts[name]:,}, expected {expected.count:,}"
            + (f" (rounded to {expected.rounded_to:,})" if expected.rounded_to > 1 else "")
            for name, expected in self.expected.items()
            if not expected.fits(counts[name])
        )
