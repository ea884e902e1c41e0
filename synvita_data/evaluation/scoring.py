"""Score a task, one video after the other: saved after every video, resumed, and shared by any number of processes.

What is done lies in a store whose folder is named by everything that scores depend on (model and its
revision, task and its revision, prompt, frame policy), so that a changed setting never finds old scores.
Processes (`accelerate launch`, a second terminal, another machine on the same file system) share the
work through that store: each video is scored by one of them, and nothing is counted twice.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, Resolver, VideoRef
from ..display import counted
from ..errors import SchemaError, StoreError, SynvitaError, of_type
from ..jobs import Claim, JobProgress, Record, Store, run_here, work_key
from ..scoring import ItemScores, Scorer, ScoringItem
from ..scoring.released import draw_flips
from ..tasks import Task
from ..video.rules import rule_versions


@dataclass
class Scored:
    """The scores of a task and what has none.

    Attributes:
        scores: float64 [N], aligned with the annotations; NaN where a video could not be scored. With a scorer's
            `flips`, rows of one text may differ.
        missing: videos that are not under the real root, sorted.
        unreadable: video id -> error record.
        left_out: how many videos `limit` left out.
        frames: video id -> indices of the frames that were looked at, of every scored video.
        details: what the scorer recorded of the first video (decoder and the like), {} without any.
        texts_cut: texts of videos that the model could not take whole, where the scorer counts them.
        reused: videos that had been scored when this process began.
    """

    scores: npt.NDArray[np.float64]
    missing: list[str] = field(default_factory=list)
    unreadable: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: int = 0
    frames: dict[str, tuple[int, ...]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    texts_cut: int = 0
    reused: int = 0

    def to_record(self) -> dict[str, Any]:
        """JSON-ready lists of what has no score, for result files."""
        return {
            "videos_missing": self.missing,
            "videos_unreadable": [{"video_id": v, **e} for v, e in sorted(self.unreadable.items())],
            "videos_left_out": self.left_out,
            "texts_cut": self.texts_cut,
        }


def run_key(scorer: Scorer, task: Task, annotations: Annotations) -> str:
    """Digest of everything the scores of a run depend on, but for the videos themselves."""
    return work_key(
        **scorer_facts(scorer), task=task.name, annotations=annotations.revision, **task.key_parts
    )


def scorer_facts(scorer: Scorer) -> dict[str, Any]:
    """What scores depend on of a scorer, JSON-ready."""
    return {
        "model": scorer.name,
        "revision": scorer.revision,
        "kind": scorer.kind,
        "prompt": scorer.prompt,
        "frames": scorer.frames.to_dict() if scorer.frames else None,
        "settings": scorer.settings,
    }


def score_task(
    scorer: Scorer,
    task: Task,
    annotations: Annotations,
    resolve: Resolver | Any,
    work: Path,
    *,
    wait: bool = True,
    limit: int | None = None,
    only: Collection[str] | None = None,
    on_progress: Callable[[JobProgress], None] | None = None,
) -> Scored | None:
    """Scores of all texts of a task, as far as its videos are there and readable.

    A video that cannot be read is set aside with its reason, and looked at once more in every later run.

    Args:
        scorer: the model.
        task: the benchmark.
        annotations: of the task.
        resolve: `RealVideos(root)`, or a function from a `VideoRef` to a file, bytes or None.
        work: folder of stores, one a run key.
        wait: until what other processes are scoring is done too, and return the whole; if they die, their
            share is done here. False (every process but the first): return None when nothing is left to claim.
        limit: only the first videos that are there, for a trial; the result is partial.
        only: ids of the videos to score; None for all.
        on_progress: as of `run_job`, by this process only.

    Raises:
        SynvitaError: the scorer breaks the protocol, or fails. What is scored by then is kept.
        StoreError: `work` cannot be written.
    """
    fit_scorer(scorer, annotations)
    missing: list[VideoRef] = []
    mirrored = mirrored_rows(scorer, annotations)
    there = list(annotations.items(resolve, on_missing=missing.append, mirrored=mirrored, only=only))
    items = {item_key(item, scorer): item for item in there[:limit]}
    job = EvaluationJob(scorer, task.name, items, work / run_key(scorer, task, annotations)[:24])
    answers = complete_answers(job, wait=wait, on_progress=on_progress)
    if answers is None:
        return None
    # In the order of the items: equal whoever scored them, and when.
    found = Scored(
        np.full(len(annotations), np.nan),
        missing=sorted(video.video_id for video in missing),
        left_out=len(there) - len(items),
        reused=answers.reused,
    )
    for key, item in items.items():
        if (fields := answers.fields.get(key)) is None:
            found.unreadable[item.video_id] = answers.errors[key]
            continue
        annotations.place(found.scores, item, fields["scores"], mirrored)
        details = dict(fields["details"])
        found.texts_cut += details.pop("texts_cut", 0)
        found.frames[item.video_id] = tuple(fields["indices"])
        found.details = found.details or details
    return found


def fit_scorer(scorer: Scorer, annotations: Annotations) -> None:
    """Give a scorer that learns from the task itself (`words`) all its annotations; others have no `fit`.

    Raises:
        ScoreError: it cannot learn from them.
    """
    fit = getattr(scorer, "fit", None)
    if fit is not None:
        fit(annotations)


def mirrored_rows(scorer: Scorer, annotations: Annotations) -> npt.NDArray[np.bool_] | None:
    """bool [N], which rows the scorer wants to score against the mirror image of their video; None for none.

    Every row of the file takes its draw, also of a video that is not there or that `limit` leaves out: what is
    scored in part is scored as in the whole run.

    Raises:
        SchemaError: the annotations do not know the order of the file's rows.
    """
    flips = getattr(scorer, "flips", "none")
    if flips == "none":
        return None
    if annotations.file_order is None:
        raise SchemaError(
            "which rows are mirrored depends on their order in the published file, which packed annotations do not hold",
            file=annotations.report.files[0] if annotations.report.files else None,
            found=f"flips {flips!r}",
            fix="Give the published CSV with --annotations, or leave --flips out",
        )
    drawn = draw_flips(flips, int(annotations.file_order.max()) + 1)
    mirrored: npt.NDArray[np.bool_] = drawn[annotations.file_order]
    return mirrored


@dataclass(frozen=True)
class EvaluationJob:
    """Videos with their texts, one a key, as a job whose worker is a scorer that is open already.

    Attributes:
        scorer: the model; it may run ahead: its claims wait in line.
        subject: what is scored, for the title: the name of a benchmark.
        items: what is to be scored, by key.
        root: folder of the store.
    """

    scorer: Scorer
    subject: str
    items: dict[str, ScoringItem]
    root: Path

    @property
    def title(self) -> str:
        return f"{self.scorer.name} on {self.subject}"

    def inputs(self) -> dict[str, Any]:
        return self.items

    def open_worker(self, device: str | None) -> "EvaluationJob":
        return self

    def run(self, claims: Iterator[tuple[Claim, ScoringItem]]) -> None:
        waiting: deque[tuple[Claim, ScoringItem]] = deque()

        def claimed() -> Iterator[ScoringItem]:
            for claim, item in claims:
                waiting.append((claim, item))
                yield item

        for answer in self.scorer.score(claimed()):
            if not waiting:
                raise self._broken_promise(answer.item_id, "an answer to nothing")
            claim, item = waiting[0]
            self._check_answer(answer, item)
            if answer.error is not None:
                claim.quarantine(answer.error)
            else:
                claim.commit(_to_fields(answer))
            waiting.popleft()
        if waiting:
            raise self._broken_promise(waiting[0][1].item_id, "no answer, nor to the items after it")

    def close(self) -> None:
        """The scorer is its maker's to close."""

    def _check_answer(self, answer: ItemScores, item: ScoringItem) -> None:
        found = None
        if answer.item_id != item.item_id:
            found = f"an answer to {answer.item_id}"
        elif (answer.scores is None) == (answer.error is None):
            found = "scores and an error, or neither"
        elif answer.scores is not None and np.shape(answer.scores) != (len(item.texts),):
            found = f"scores of shape {np.shape(answer.scores)}"
        elif answer.scores is not None and not np.isfinite(answer.scores).all():
            found = "a score that is NaN or infinite"
        if found:
            expected = f"{len(item.texts)} finite scores of this item, or an error"
            raise self._broken_promise(item.item_id, found, expected)

    def _broken_promise(self, item_id: str, found: str, expected: str = "one answer an item") -> SynvitaError:
        return SynvitaError(
            f"the scorer {self.scorer.name} does not keep its promise for {item_id}",
            found=found,
            expected=expected,
            fix="Report this to the author of the scorer",
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """What is in the store of a job when all of it is done.

    Attributes:
        fields: key -> what its result says: `scores`, `indices`, `details`.
        errors: key -> why it has no result, as an error's record.
        reused: how many were there before.
    """

    fields: dict[str, Mapping[str, Any]]
    errors: dict[str, dict[str, Any]]
    reused: int


def complete_answers(
    job: EvaluationJob, *, wait: bool = True, on_progress: Callable[[JobProgress], None] | None = None
) -> Answers | None:
    """Score what is not scored yet, and read all of it back.

    Args:
        job: what to score.
        wait: as of `score_task`.
        on_progress: as of `run_job`.

    Returns:
        None when others are to wait for the rest.

    Raises:
        SynvitaError, StoreError: as of `score_task`.
    """
    _make_folder(job.root)
    # What could not be read may have been the disk's fault, or have been mended in place.
    report = run_here(job, wait=wait, retry_failed=wait, verify=wait, on_progress=on_progress)
    if not wait:
        return None
    while (found := _read_back(Store(job.root), job.items, report.found)) is None:
        run_here(job, verify=True, on_progress=on_progress)
    return found


def _read_back(store: Store, items: Mapping[str, ScoringItem], reused: int) -> Answers | None:
    """What is done. None when something is gone since it was seen, because a run that began meanwhile tries the
    unreadable again."""
    failures = {failure.key: failure.error for failure in store.quarantined()}
    found = Answers({}, {}, reused)
    for key in items:
        record = store.record(key)
        if record is not None:
            found.fields[key] = _fields_of(record, items[key])
        elif key in failures:
            found.errors[key] = failures[key]
        else:
            return None
    return found


def _fields_of(record: Record, item: ScoringItem) -> dict[str, Any]:
    with record.expecting(f"{counted(len(item.texts), 'scores')}, indices of frames, and details"):
        scores = [of_type(score, float, int) for score in record.fields["scores"]]
        if len(scores) != len(item.texts):
            raise ValueError(counted(len(scores), "scores"))
        indices = [of_type(index, int) for index in record.fields["indices"]]
        details = of_type(record.fields["details"], dict)
        of_type(details.get("texts_cut", 0), int)
    return {"scores": scores, "indices": indices, "details": details}


def process_rank() -> int:
    """Rank of this process as `accelerate launch`, `torchrun` and MPI launchers set it; 0 alone."""
    return _from_launcher(("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"), 0)


def process_count() -> int:
    """Number of processes as those launchers set it; 1 alone."""
    return _from_launcher(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"), 1)


def _from_launcher(names: tuple[str, ...], alone: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), alone)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"no folder can be made to keep scores in: {error.strerror or error}",
            file=folder,
            fix="Name another folder with --out",
        ) from error


def item_key(item: ScoringItem, scorer: Scorer | None = None) -> str:
    """Digest of everything an item's scores depend on, beside the scorer's own settings."""
    video: Any
    if isinstance(item.video, bytes):
        video = hashlib.sha256(item.video).hexdigest()
    else:
        status = item.video.stat()
        video = [item.video.name, status.st_size, status.st_mtime_ns]
    texts = [[text_id, *text.key_parts()] for text_id, text in zip(item.text_ids, item.texts, strict=True)]
    rules: dict[str, Any] = {}
    if scorer is not None and scorer.frames is not None:  # it looks at the video
        reads_times = getattr(scorer, "reads_times", None)
        rules = rule_versions(item.video, scorer.frames, item.start, item.end, reads_times=reads_times)
    if any(item.mirrored):  # items without keep their keys
        rules["mirrored"] = list(item.mirrored)
    return work_key(item=item.item_id, video=video, start=item.start, end=item.end, texts=texts, **rules)


def _to_fields(answer: ItemScores) -> dict[str, Any]:
    # Python's floats print so that they read back exactly, float32 ones too.
    scores = np.asarray(answer.scores, dtype=np.float64).tolist()
    indices = [int(index) for index in answer.frame_indices]
    return {"scores": scores, "indices": indices, "details": answer.details}
