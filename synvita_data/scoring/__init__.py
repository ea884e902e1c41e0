"""The protocol between what asks for scores (tasks, trainers, demos) and what gives them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ..captions import Text
from ..errors import SynvitaError

if TYPE_CHECKING:
    import numpy as np

    from ..video import FramePolicy

# log_odds: logit(Yes) − logit(No), any real number. probability: in [0, 1]. similarity: only the order
# means something, so metrics that need a threshold refuse it.
ScoreKind = Literal["log_odds", "probability", "similarity"]


@dataclass(frozen=True, slots=True)
class ScoringItem:
    """One video with all its texts, so that the work on the video is done once.

    Attributes:
        item_id: unique in a run.
        video_id: the video as the annotations name it.
        video: the file, or the bytes of one.
        texts: what to score against it.
        text_ids: aligned with `texts`.
        start, end: seconds of the file to look at, None for all of it.
        mirrored: aligned with `texts`, true where the text is scored against the mirror image of the video; () for
            nowhere. A text may stand twice, once for each.
    """

    item_id: str
    video_id: str
    video: Path | bytes
    texts: tuple[Text, ...]
    text_ids: tuple[str, ...]
    start: float | None = None
    end: float | None = None
    mirrored: tuple[bool, ...] = ()

    @property
    def sides(self) -> dict[bool, tuple[int, ...]]:
        """Places of the texts that are scored against the video (false) and against its mirror image (true)."""
        flags = self.mirrored or (False,) * len(self.texts)
        return {side: tuple(i for i, own in enumerate(flags) if own == side) for side in sorted(set(flags))}


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The answer to one ScoringItem.

    Attributes:
        scores: float32 or float64 [len(texts)], finite; log-odds are never rounded to probabilities.
            None when `error` is set.
        frame_indices: the frames that were looked at, in presentation order.
        details: what else a result should record, JSON-ready (backend, timestamps).
        error: why the video could not be scored; the run goes on and reports it.
    """

    item_id: str
    scores: "np.ndarray | None"
    frame_indices: tuple[int, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    error: SynvitaError | None = None


def refuse_questions(texts: Iterable[Text], scorer: str, *, problem: str, fix: str) -> None:
    """Complain about the first text with a question, for scorers that can only be shown captions.

    Args:
        texts: what is to be scored.
        scorer: its name.
        problem: why it cannot answer.
        fix: what to do about it.

    Raises:
        SynvitaError: as it says.
    """
    asked = next((text.question for text in texts if text.question is not None), None)
    if asked is not None:
        raise SynvitaError(
            problem,
            file=scorer,
            found=f"the question {asked.words!r} with the answers {', '.join(asked.answers)}",
            expected="captions",
            fix=fix,
        )


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores videos against texts.

    `score` takes a stream and gives a stream, in the same order: decoding ahead, batching and
    sharing a video's work are the scorer's own business. An unreadable video gives an ItemScores
    with `error`, never an exception that ends the stream.

    Attributes:
        name: shown in results and on the leaderboard.
        revision: changes whenever scores may change.
        frames: how frames are chosen; None for scorers that do not look at the video.
        kind: what the numbers mean.
        prompt: name of the prompt, None where there is none.
        settings: dtype, device, seed, versions: recorded in results, JSON-ready.

    A scorer may have `flips` too (of `released.FLIPS`): which rows of the annotation file are mirrored. Its items
    then have `mirrored`. And it may have `control` (a `video.controls.Control`): what is taken away from every video;
    its results are then those of a control.
    """

    name: str
    revision: str
    kind: ScoreKind
    settings: dict[str, Any]

    # Read-only, so that a scorer may narrow them.
    @property
    def frames(self) -> "FramePolicy | None": ...

    @property
    def prompt(self) -> str | None: ...

    def score(self, items: Iterable[ScoringItem]) -> Iterator[ItemScores]: ...
