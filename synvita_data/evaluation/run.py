"""Score a task's videos with a model: saved after every video, resumed, shared by any number of processes.

What is done lies in a store whose folder is named by everything that scores depend on (model and its
revision, task and its revision, prompt, frame policy), so that a changed setting never finds old scores.
Processes (`accelerate launch`, a second terminal, another machine on the same file system) share the
work through that store: each video is scored by one of them, and nothing is counted twice.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, Resolver, VideoRef
from ..errors import StoreError, SynvitaError
from ..jobs import CLAIMED, DONE, QUARANTINED, Claim, Scan, Store, work_key
from ..scoring.protocol import ItemScores, Scorer, ScoringItem
from ..tasks import Task
from ..video.rules import rule_versions

LOOK_EVERY = 1.0  # seconds


class OnProgress(Protocol):
    """`progress.Progress.at`: so many videos need no more work, of so many."""

    def __call__(self, done: int, total: int, *, quarantined: int = 0, reused: int = 0) -> None: ...


@dataclass
class Scored:
    """What a run found.

    Attributes:
        scores: float64 [N], aligned with the annotations; NaN where a video could not be scored.
        missing: videos that are not under the real root, sorted. unreadable: video id -> error record.
        left_out: how many videos `limit` left out.
        frames: video id -> indices of the frames that were looked at, of every scored video.
        details: what the scorer said of the first video (decoder and the like), {} without any.
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
        model=scorer.name,
        revision=scorer.revision,
        kind=scorer.kind,
        prompt=scorer.prompt,
        frames=scorer.frames.to_dict() if scorer.frames else None,
        settings=scorer.settings,
        task=task.name,
        annotations=annotations.revision,
    )


def score_task(
    scorer: Scorer,
    task: Task,
    annotations: Annotations,
    resolve: Resolver | Any,
    work: Path,
    *,
    wait: bool = True,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    poll: float = 0.5,
) -> Scored | None:
    """Scores of all texts of a task, as far as its videos are there and readable.

    A video that cannot be read is set aside with its reason, and looked at once more in every later run.

    Args:
        resolve: `RealVideos(root)`, or a function from a `VideoRef` to a file, bytes or None.
        work: folder of stores, one a run key.
        wait: until what other processes are scoring is done too, and return the whole; if they die, their
            share is done here. False (every process but the first): return None when nothing is left to take.
        limit: only the first videos that are there, for a trial; the result is partial.
        on_progress: called about once a second, by this process only.
        poll: seconds between looks while only others are working.

    Raises:
        SynvitaError: the scorer breaks the protocol, or fails. What is scored by then is kept.
        StoreError: `work` cannot be written.
    """
    missing: list[VideoRef] = []
    there = list(annotations.items(resolve, on_missing=missing.append))
    keys = {_item_key(item, scorer): item for item in there[:limit]}
    with _open_store(work / run_key(scorer, task, annotations)[:24]) as store:
        if wait:  # what could not be read may have been the disk's fault, or have been mended in place
            store.retry_failed(keys)
        reused = store.scan(keys).counts[DONE]

        def report(state: Scan) -> None:
            if on_progress is not None:
                failed = state.counts[QUARANTINED]
                on_progress(state.counts[DONE] + failed, len(keys), quarantined=failed, reused=reused)

        while True:
            state = store.scan(keys)
            report(state)
            if not state.pending and wait and not state.counts[CLAIMED]:
                state = store.scan(keys, "contents")  # a damaged record counts for nothing
            if state.pending:
                # A pass ends when all that is left is in the hands of others.
                free = {key: keys[key] for key in state.pending}
                with closing(_score_free(scorer, store, free)) as passing:
                    looked = time.monotonic()
                    for _ in passing:
                        # Others score too, so what is done is looked up, but not after every video of many.
                        if time.monotonic() - looked > LOOK_EVERY:
                            report(store.scan(keys, "names"))
                            looked = time.monotonic()
            elif not wait:
                return None
            elif state.counts[CLAIMED]:
                time.sleep(poll)
            elif (found := _collect(store, keys, annotations)) is not None:
                found.missing = sorted(video.video_id for video in missing)
                found.left_out = len(there) - len(keys)
                found.reused = reused
                return found


def process_rank() -> int:
    """Rank of this process as `accelerate launch`, `torchrun` and MPI launchers set it; 0 alone."""
    return _from_launcher(("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"), 0)


def process_count() -> int:
    """Number of processes as those launchers set it; 1 alone."""
    return _from_launcher(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"), 1)


def _from_launcher(names: tuple[str, ...], alone: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), alone)


def _open_store(folder: Path) -> Store:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"no folder can be made to keep scores in: {error.strerror or error}",
            file=folder,
            fix="Name another folder with --out",
        ) from error
    return Store(folder)


def _score_free(scorer: Scorer, store: Store, keys: dict[str, ScoringItem]) -> Generator[None, None, None]:
    """Score those of `keys` that no other process holds. The scorer may run ahead: its claims wait in line."""
    held: deque[Claim] = deque()

    def claimed() -> Iterator[ScoringItem]:
        for key, item in keys.items():
            if (claim := store.claim(key)) is not None:
                held.append(claim)
                yield item

    try:
        for answer in scorer.score(claimed()):
            if not held:
                raise _broken_promise(scorer, answer.item_id, "an answer to nothing", "one answer an item")
            claim = held[0]
            _check_answer(answer, keys[claim.key], scorer)
            if answer.error is not None:
                claim.quarantine(answer.error)
            else:
                claim.commit(_to_fields(answer))
            held.popleft()
            yield
        if held:
            raise _broken_promise(
                scorer,
                keys[held[0].key].item_id,
                "no answer, nor to the items after it",
                "one answer an item",
            )
    finally:
        for claim in held:  # the scorer failed or was stopped: others may take these
            claim.release()


def _item_key(item: ScoringItem, scorer: Scorer | None = None) -> str:
    video: Any
    if isinstance(item.video, bytes):
        video = hashlib.sha256(item.video).hexdigest()
    else:
        status = item.video.stat()
        video = [item.video.name, status.st_size, status.st_mtime_ns]
    texts = [
        [text_id, text.hidden, *([] if text.tokens is None else [text.tokens.ids, text.tokens.hidden])]
        for text_id, text in zip(item.text_ids, item.texts, strict=True)
    ]
    rules: dict[str, Any] = {}
    if scorer is not None and scorer.frames is not None:  # it looks at the video
        reads_times = getattr(scorer, "reads_times", None)
        rules = rule_versions(item.video, scorer.frames, item.start, item.end, reads_times=reads_times)
    return work_key(item=item.item_id, video=video, start=item.start, end=item.end, texts=texts, **rules)


def _check_answer(answer: ItemScores, item: ScoringItem, scorer: Scorer) -> None:
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
        raise _broken_promise(scorer, item.item_id, found, expected)


def _broken_promise(scorer: Scorer, item_id: str, found: str, expected: str) -> SynvitaError:
    return SynvitaError(
        f"the scorer {scorer.name} does not keep its promise for {item_id}",
        found=found,
        expected=expected,
        fix="Report this to the author of the scorer",
    )


def _to_fields(answer: ItemScores) -> dict[str, Any]:
    # Python's floats print so that they read back exactly, float32 ones too.
    scores = np.asarray(answer.scores, dtype=np.float64).tolist()
    indices = [int(index) for index in answer.frame_indices]
    return {"scores": scores, "indices": indices, "details": answer.details}


def _collect(store: Store, keys: Mapping[str, ScoringItem], annotations: Annotations) -> Scored | None:
    """Read back what is done, in the order of the items: equal whoever did it, and when. None when something
    is gone since it was seen, because a run that began meanwhile tries the unreadable again."""
    found = Scored(np.full(len(annotations), np.nan))
    failures = {failure.key: failure.error for failure in store.quarantined()}
    for key, item in keys.items():
        record = store.record(key)
        if record is not None:
            annotations.place(found.scores, item, record.fields["scores"])
            details = dict(record.fields["details"])
            found.texts_cut += details.pop("texts_cut", 0)
            found.frames[item.video_id] = tuple(record.fields["indices"])
            found.details = found.details or details
        elif key in failures:
            found.unreadable[item.video_id] = failures[key]
        else:
            return None
    return found
