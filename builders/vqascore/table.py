"""From results in the store to the rows of a score table."""

from collections.abc import Iterator
from dataclasses import dataclass

from synvita_data.errors import StoreError
from synvita_data.jobs import QUARANTINED, Record, Store
from synvita_data.tables.score_files import ScoreRow

from .job import VqaScoreJob
from .models import WHOLE_VIDEO
from .questions import score_of


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far one model is.

    Attributes:
        rows: to be scored. scored: with a result. failed: in quarantine. The rest is still to do.
    """

    model: str
    rows: int
    scored: int
    failed: int

    @property
    def to_do(self) -> int:
        return self.rows - self.scored - self.failed


def coverage(job: VqaScoreJob) -> Coverage:
    """How many of a job's rows have a result, or failed; rows that share a key count each."""
    store = Store(job.root)
    states = store.scan(dict.fromkeys(job.keys)).states
    scored = sum(states[key] == "done" for key in job.keys)
    failed = sum(states[key] == QUARANTINED for key in job.keys)
    return Coverage(job.model.label, len(job.rows), scored, failed)


def score_rows(job: VqaScoreJob, score: str) -> Iterator[ScoreRow]:
    """One row a frame for each row that has a result, in the order of `job.rows`; whole videos have no frame.

    Raises:
        StoreError: a result is not one of this job's.
        ScoreError: a log-probability that is none.
    """
    store, method = Store(job.root), job.method(score)
    for row, key in zip(job.rows, job.keys, strict=True):
        record = store.record(key)
        if record is None:
            continue
        for frame, neg_caption, caption in _looks(record, whole=job.model.kind == WHOLE_VIDEO):
            yield ScoreRow(
                id=row.id,
                model=job.model.label,
                neg_caption_score=score_of(neg_caption, score),
                caption_score=score_of(caption, score),
                revision=job.model.revision,
                method=method,
                frame=frame,
                sha256=row.sha256,
                generator=row.generator,
                sample=row.sample,
            )


def _looks(record: Record, *, whole: bool) -> list[tuple[int | None, list[float], list[float]]]:
    """(frame, log-probabilities with the contrast caption, with the caption) of each look."""
    try:
        frames: list[int | None] = [None] if whole else list(record.fields["frames"])
        looks = record.fields["log_probs"]
        return [(frame, *pair) for frame, pair in zip(frames, looks, strict=True)]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            "a result is not one of VQA scores", found=record.fields, expected="frames and log_probs"
        ) from error
