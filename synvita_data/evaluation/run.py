"""Evaluate a model or a file of scores on a task, from what can be checked beforehand to the result file."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from ..annotations import Annotations, VideoRef, find_form
from ..annotations.forms import join_rows
from ..display import counted
from ..errors import SourceError, StoreError, SynvitaError
from ..files import atomic_path, sha256_file
from ..hub.places import without_places
from ..jobs import JobProgress
from ..real_videos.find import RealVideos
from ..real_videos.roots import RealVideoRoots
from ..scoring import ScoreKind, Scorer
from ..tasks import Task
from .predictions import read_predictions
from .results import Result, check_measurable, make_result, measure, write_result
from .scoring import fit_scorer, mirrored_rows, process_count, process_rank, run_key, score_task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        result: what its file holds.
        path: of the result file; the scores lie beside it.
        texts_cut: texts of videos that the model could not take whole.
        doubts: videos that are not as long as their names say.
    """

    result: Result
    path: Path
    texts_cut: int = 0
    doubts: tuple[SynvitaError, ...] = ()


def check_evaluation(
    scorer: Scorer,
    task: Task,
    annotations: Annotations,
    out: str | Path,
    *,
    partial: bool = False,
) -> None:
    """Raise what can be known to be wrong before a video is scored; `evaluate_scorer` does so itself.

    Args:
        scorer: the model.
        task: the benchmark.
        annotations: of the task.
        out: folder of results.
        partial: as of `evaluate_scorer`.

    Raises:
        StoreError: `out` cannot be written. CaptionError: the model cannot take a caption. ScoreError: the metric
            refuses these annotations whatever the scores, or the scorer cannot be fitted on them. SchemaError: rows
            cannot be mirrored as the scorer asks.
    """
    check_writable(out)
    mirrored_rows(scorer, annotations)
    check_measurable(task, annotations, partial=partial)
    fit_scorer(scorer, annotations)
    check_texts = getattr(scorer, "check_texts", None)
    if check_texts is not None:
        check_texts(iter(annotations.texts))


def check_writable(out: str | Path) -> None:
    """Complain about a folder of results that cannot be written.

    Raises:
        StoreError: as it says.
    """
    probe = Path(out) / ".writable"
    try:
        with atomic_path(probe) as temporary:
            temporary.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder of results cannot be written: {error.strerror or error}",
            file=out,
            fix="Name another folder with --out",
        ) from error


def evaluate_scorer(
    scorer: Scorer,
    task: Task,
    annotations: Annotations,
    real_root: str | Path | RealVideoRoots | RealVideos | None,
    out: str | Path,
    *,
    name: str | None = None,
    real_mapping: Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[JobProgress], None] | None = None,
    checked: bool = False,
) -> Evaluation | None:
    """Score a model on a benchmark and write its result file, as `synvita evaluate` does.

    Args:
        scorer: of `scoring.open.open_scorer`, or any object of the protocol `scoring.Scorer`.
        task: the benchmark.
        annotations: of the task, of `read_annotations`.
        real_root: folder of the benchmark's videos, several as one, or who has looked already
            (`look_for_videos`); None for a scorer that looks at none.
        out: folder of results; what is scored is kept below it, so that a killed run resumes.
        name: of the model in results; None for the scorer's own.
        real_mapping: which file is which video, see docs/dataset.md.
        limit: only the first videos that are there, for a trial.
        partial: go on when videos are missing or unreadable; such a result is never official.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        on_progress: as of `run_job`.
        checked: `check_evaluation` was called already, as for several tasks before the first.

    Returns:
        The evaluation; None in every process but the first, which alone writes.

    Raises:
        SynvitaError: whatever `check_evaluation` finds, before a video is scored.
        SourceError: videos are missing or cannot be read, and `partial` is false. What is scored is kept.
        SynvitaError: the scorer breaks the protocol, the metric refuses the scores, or `out` cannot be written.
    """
    started, out, partial = time.monotonic(), Path(out), partial or limit is not None
    if not checked:
        check_evaluation(scorer, task, annotations, out, partial=partial)
    resolve, roots = find_videos(scorer, task, real_root, real_mapping)
    found = score_task(
        scorer,
        task,
        annotations,
        resolve,
        out / ".work",
        wait=process_rank() == 0,
        limit=limit,
        on_progress=on_progress,
    )
    if found is None:
        return None
    if (found.missing or found.unreadable) and (not partial or not found.frames):
        raise _lacking(task, found.missing, found.unreadable, roots, some=bool(found.frames))
    control = getattr(scorer, "control", None)
    # Where rows of one text may have two scores, they are joined as the released scripts do.
    scores, official, joined = found.scores, None, {}
    if (flips := getattr(scorer, "flips", "none")) != "none":
        scores, official = join_rows(annotations, find_form(annotations), found.scores)
        joined = {"flips": {"name": flips, **official.to_record()}}
    # Results are shown to others: where the videos lie stays out of them.
    doubts = tuple(getattr(resolve, "doubts", ()))
    unusual = {"problems": [error.to_record() for error in getattr(resolve, "problems", ())]}
    if doubts:
        unusual["doubts"] = [error.to_record() for error in doubts]
    notes = without_places({**found.to_record(), **unusual}, roots[0] if roots else None)
    for root in roots[1:]:
        notes = without_places(notes, root)
    result = make_result(
        task=task,
        annotations=annotations,
        metrics=measure(
            task,
            annotations,
            scores,
            scorer.kind,
            official=official,
            partial=partial,
            resamples=resamples,
            seed=seed,
        ),
        model={
            "name": name or scorer.name,
            "revision": scorer.revision,
            "kind": scorer.kind,
            "prompt": scorer.prompt,
            "settings": scorer.settings,
        }
        | {
            key: getattr(scorer, name)
            for key, name in (("placeholder", "behind_placeholder"), ("preprocess", "preprocessing"))
            if getattr(scorer, name, None) is not None
        },
        scores=scores,
        frames=None
        if scorer.frames is None
        else {
            "policy": scorer.frames.to_dict(),
            "first_video": {"indices": list(next(iter(found.frames.values()), ())), **found.details},
        },
        run={
            "wall_seconds": round(time.monotonic() - started, 3),
            "finished": _now(),
            "processes": process_count(),
            "videos_reused": found.reused,
            "key": run_key(scorer, task, annotations),
        },
        notes={**notes, **joined, "bootstrap": {"seed": seed, "resamples": resamples}},
        doubts=[] if official is None else official.doubts(),
        control=None if control is None else control.name,
    )
    frames = found.frames if scorer.frames else None
    path = write_result(out, result, annotations, scores, scorer.kind, frames, official)
    return Evaluation(result, path, found.texts_cut, doubts)


def look_for_videos(
    task: Task, annotations: Annotations, real_root: str | Path, real_mapping: Path | None = None
) -> RealVideos:
    """Find all videos of a benchmark, before a model is loaded to look at them.

    Returns:
        What has found them, which `evaluate_scorer` takes as `real_root`.

    Raises:
        SourceError: some are not there, or `real_root` is not a folder.
    """
    videos = RealVideos(Path(real_root), real_mapping, source=task.source)
    missing: list[VideoRef] = []
    there = sum(1 for _ in annotations.items(videos, on_missing=missing.append))
    if missing:
        names = sorted(video.video_id for video in missing)
        raise _lacking(task, names, {}, (Path(real_root),), some=there > 0)
    return videos


def _lacking(
    task: Task,
    missing: Sequence[str],
    unreadable: Mapping[str, Mapping[str, Any]],
    roots: Sequence[Path],
    *,
    some: bool,
) -> SourceError:
    """The error for videos that are not there or cannot be read.

    Args:
        missing: ids of videos.
        unreadable: id -> the error's record.
        roots: where they were looked for.
        some: whether there are others that can be scored.
    """
    reasons = [f"{video} ({error['problem']})" for video, error in sorted(unreadable.items())]
    bad = len(missing) + len(unreadable)
    said = [f"{counted(len(missing), 'videos are')} not there"] * bool(missing)
    if unreadable:
        said.append(
            f"{len(unreadable):,} cannot be read"
            if missing
            else f"{counted(len(unreadable), 'videos')} cannot be read"
        )
    return SourceError(
        f"{task.name}: {' and '.join(said)}",
        file=", ".join(map(str, roots)) or None,
        found=", ".join([*reasons, *missing][:3]) + (", …" if bad > 3 else ""),
        fix="Complete the videos and run again (what is scored is kept)"
        + (", or pass --partial to score those that are there" if some else ""),
    )


def evaluate_predictions(
    path: str | Path,
    task: Task,
    annotations: Annotations,
    out: str | Path,
    *,
    name: str | None = None,
    kind: str | None = None,
    partial: bool = False,
    allow_unknown: bool = False,
    join: str = "strict",
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a file of scores made elsewhere and write its result file, as `synvita evaluate --predictions` does.

    Args:
        path: our Parquet, or one of the released CSVs.
        task: the benchmark.
        annotations: of the task.
        out: folder of results.
        name: of the model in results; None for the file's name.
        kind: what the numbers are: `log_odds`, `probability` or `similarity`; None where the file says.
        partial: allow texts without a score; such a result is never official.
        allow_unknown: pass over rows of other videos and captions.
        join: `strict`, or `official` for files with two scores of one text.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ScoreError: the file does not fit the annotations; the message names the row.
    """
    started, path = time.monotonic(), Path(path)
    found = read_predictions(
        path,
        annotations,
        task,
        kind=cast(ScoreKind | None, kind),
        allow_missing=partial,
        allow_unknown=allow_unknown,
        join=join,
    )
    counts, doubts = {**asdict(found.counts), "file": path.name}, []
    if found.official is not None:
        counts |= found.official.to_record()
        doubts += found.official.doubts()
    if found.counts.unended and found.counts.score_last:
        doubts.append(
            "the score file breaks off without a line end, so its last score may be cut: end it with one"
        )
    result = make_result(
        task=task,
        annotations=annotations,
        metrics=measure(
            task,
            annotations,
            found.scores,
            found.kind,
            official=found.official,
            partial=partial,
            resamples=resamples,
            seed=seed,
        ),
        model={
            "name": name or path.stem,
            "revision": sha256_file(path)[:16],
            "kind": found.kind,
            "prompt": None,
            "settings": {"scores from": path.name},
        },
        scores=found.scores,
        frames=None,
        run={"wall_seconds": round(time.monotonic() - started, 3), "finished": _now()},
        notes={"score_file": counts, "bootstrap": {"seed": seed, "resamples": resamples}},
        doubts=doubts,
        control=found.control,
    )
    return Evaluation(
        result,
        write_result(Path(out), result, annotations, found.scores, found.kind, official=found.official),
    )


def find_videos(
    scorer: Scorer,
    task: Task,
    real_root: str | Path | RealVideoRoots | RealVideos | None,
    real_mapping: Path | None = None,
) -> tuple[Any, tuple[Path, ...]]:
    """Where the videos of a task are: for `score_task`, and the folders.

    Chance looks at no video, nor does the control `text`: every text gets a number, whether the videos are here or not.

    Args:
        scorer: the model.
        task: the benchmark.
        real_root: as of `evaluate_scorer`.
        real_mapping: which file is which video.
    """
    control = getattr(scorer, "control", None)
    if real_root is None or (control is not None and not control.watches):
        return _no_video, ()
    if isinstance(real_root, RealVideoRoots):
        return real_root, real_root.roots
    if isinstance(real_root, RealVideos):
        return real_root, (real_root.root,)
    return RealVideos(Path(real_root), real_mapping, source=task.source), (Path(real_root),)


def _no_video(video: VideoRef) -> bytes:
    return b""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
