"""What a model got most wrong on a task, from its result file, its score table and the annotations.

Pairs and questions need the annotations: the score table names texts, and not which of them belong together. Captions
that are ranked can be read from the table alone. `mistakes_page` shows what is found here as a page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, VideoRef, find_form, make_annotations, read_annotations
from ..annotations.forms import Form
from ..annotations.mistakes import Judged
from ..annotations.table import AnnotationReport
from ..errors import SchemaError, choose, parsing
from ..evaluation.predictions import read_predictions
from ..evaluation.results import Result
from ..evaluation.scored import ScoredResult, check_annotations, read_scored, task_of
from ..hub.places import without_places
from ..scoring import ScoreKind
from ..tables.columns import Floats, as_numpy, coded, parquet_errors, read_parquet
from ..tasks import Task

# What the numbers of a score table are called, by kind.
SCORE_NAMES: Mapping[str, str] = {
    "log_odds": "log-odds",
    "probability": "probability",
    "similarity": "similarity",
}


@dataclass(frozen=True, slots=True)
class Side:
    """A text of a video that shows a mistake.

    Attributes:
        role: what it is there: "caption", "contrast caption", "chosen", "missed", ….
        right: whether the text describes the video (is the right answer).
        score: what the model gave it.
        video: the video.
        text: the caption.
        rank: place in a caption's ranking, from 1; None in other forms.
    """

    role: str
    right: bool
    score: float
    video: VideoRef
    text: str
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A pair, question or caption that the model got wrong.

    Attributes:
        place: 1 for the most wrong.
        group: its id in the annotations.
        measure: the lower the more wrong, see `Mistakes.by`.
        tags: misalignment, type or what else results are broken down by; only what is known.
        note: what else is to be said; may be empty.
        sides: the most telling first.
    """

    place: int
    group: str
    measure: float
    tags: Mapping[str, Any]
    note: str
    sides: tuple[Side, ...]


@dataclass(frozen=True, eq=False)
class Mistakes:
    """What a model got wrong on a task, the most wrong first; made by `read_mistakes`.

    Attributes:
        result: what the result file says.
        task: the benchmark.
        annotations: those of the result, or what its score table tells of them.
        whole: whether these are the annotations.
        scores: float64 [N], NaN where missing.
        kind: what the scores are.
        judged: the groups, as the task's form judges them.
        chosen: int64 [W], places in `judged` of those that are wrong (and pass the filter), the most wrong first.
        only: the misalignment (type, …) that is asked for; None for all.
        several: texts that have further scores, of which the first counts.
        table: the score table.
    """

    result: Result
    task: Task
    annotations: Annotations
    whole: bool
    scores: Floats
    kind: ScoreKind
    judged: Judged
    chosen: npt.NDArray[np.int64]
    only: str | None
    several: int
    table: Path

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def model(self) -> str:
        """The model's name, without a place on this machine."""
        return str(without_places(self.result.model))

    @property
    def by(self) -> str:
        """What the mistakes are sorted by."""
        return self.judged.by

    @property
    def unit(self) -> str:
        """What the scores are called."""
        return SCORE_NAMES[self.kind]

    @cached_property
    def wrong(self) -> int:
        """How many groups are wrong, whatever is asked for; ties among them."""
        return int(self.judged.wrong.sum())

    @cached_property
    def ties(self) -> int:
        """Of those the ones whose right text has just the score of a wrong one."""
        return int((self.judged.measure == 0).sum()) if self.by == "margin" else 0

    @property
    def not_scored(self) -> int:
        """Groups that are not judged, because a text of theirs has no score."""
        return self.judged.total - len(self.judged.ids)

    def worst(self, top: int) -> Iterator[Mistake]:
        """The first `top` mistakes, one after the other."""
        a, judged = self.annotations, self.judged
        for place, chosen in enumerate(self.chosen[:top].tolist(), start=1):
            shown, row = judged.show(chosen), int(judged.row[chosen])
            yield Mistake(
                place=place,
                group=judged.ids[chosen],
                measure=float(judged.measure[chosen]),
                tags={name: column[row] for name, column in a.breakdown.items() if column[row] is not None},
                note="" if judged.note is None else judged.note(chosen),
                sides=tuple(
                    Side(
                        each.role,
                        bool(a.label[each.row]),
                        float(self.scores[each.row]),
                        a.videos[a.video[each.row]],
                        a.captions[a.text[each.row]],
                        each.rank,
                    )
                    for each in shown
                ),
            )

    def frame_indices(self, videos: set[str]) -> dict[str, tuple[int, ...]]:
        """Video id -> the frames that the model looked at, where the score table says that."""
        import pyarrow.parquet as pq

        with parsing("the score table cannot be read", file=self.table), parquet_errors(self.table):
            if "frame_indices" not in pq.read_schema(self.table).names:
                return {}
            wanted = [("video_id", "in", sorted(videos))]
            table = pq.read_table(self.table, columns=["video_id", "frame_indices"], filters=wanted)
            first: dict[str, tuple[int, ...]] = {}
            for video, indices in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
                first.setdefault(video, tuple(indices or ()))
        return first


def read_mistakes(
    path: str | Path,
    annotations: str | Path | None = None,
    *,
    task: Task | None = None,
    only: str | None = None,
) -> Mistakes:
    """What a model got wrong, from the result file that `synvita evaluate` wrote.

    Args:
        path: `RESULTS/<model>/<task>.json`; the score table lies beside it.
        annotations: file or folder of the task's annotations; None for tasks whose score table tells enough.
        task: of the result; None for one of ours, or of an annotation file without a declaration.
        only: a misalignment, type or other value of a breakdown, to leave out everything else.

    Raises:
        SchemaError: not a result file, no score table or that of another result, annotations that are needed and not
            given, or an unknown misalignment.
        ScoreError: other annotations than the result's, or the score table does not fit them.
    """
    scored = read_scored(Path(path))
    given = None if annotations is None else Path(annotations)
    task = task_of(scored, {} if task is None else {task.name: task}, given)
    form = find_form(task)
    if form.judge is None:
        raise SchemaError(f"mistakes on tasks of form {task.form} cannot be listed", file=scored.path)
    rows = _annotations(scored, task, form, given)
    # Of a text with several scores the first counts, as in the result.
    found = read_predictions(scored.table, rows, task, allow_missing=True, join="official")
    scores = found.scores
    several = 0 if found.official is None else found.official.texts
    if found.official is not None:
        scores = np.where(found.official.left_out, np.nan, scores)
    judged = form.judge(rows, scores, found.kind)
    keep = judged.wrong
    if only is not None:
        keep = keep & _tagged(rows, judged, only)
    places = np.flatnonzero(keep)
    # The most wrong first; equal ones in the order of the annotations.
    chosen = places[np.argsort(judged.measure[places], kind="stable")]
    return Mistakes(
        scored.result,
        task,
        rows,
        given is not None,
        scores,
        found.kind,
        judged,
        chosen,
        only,
        several,
        scored.table,
    )


def to_record(mistake: Mistake, mistakes: Mistakes) -> dict[str, Any]:
    """A mistake as JSON: model, task, annotations and kind of score with each, so that lines can be put together."""
    return {
        "model": mistakes.model,
        "task": mistakes.result.task,
        "annotations": mistakes.result.record["task"].get("annotations"),
        "place": mistake.place,
        "group": mistake.group,
        mistakes.by.replace(" ", "_"): mistake.measure,
        **mistake.tags,
        "note": mistake.note,
        "kind": mistakes.kind,
        "sides": [
            {
                "role": side.role,
                "right": side.right,
                "score": side.score,
                "video_id": side.video.video_id,
                "text": side.text,
                **({} if side.rank is None else {"rank": side.rank}),
            }
            for side in mistake.sides
        ],
    }


def _annotations(scored: ScoredResult, task: Task, form: Form, given: Path | None) -> Annotations:
    """The annotations of the result, refused where they are others; without any, what the score table tells."""
    if given is not None:
        rows = read_annotations(task, given)
        check_annotations(scored, rows)
        return rows
    if not form.groups_in_scores:
        raise SchemaError(
            f"the score table alone does not tell which texts of {task.name} belong together",
            file=scored.path,
            expected="--annotations FILE_OR_FOLDER",
            fix="Give the annotations that the model was evaluated on",
        )
    return _from_scores(task, scored.table)


def _from_scores(task: Task, path: Path) -> Annotations:
    """Captions and their videos as a score table has them; a text that stands in it twice, once."""
    table = read_parquet(path, ("video_id", "text_id", "caption", "label"))
    video, text, caption = (coded(table, name, path) for name in ("video_id", "text_id", "caption"))
    _, first = np.unique(np.stack([video.codes, text.codes]), axis=1, return_index=True)
    source = task.source or task.name
    return make_annotations(
        task.name,
        form=task.form,
        videos=[VideoRef(source, each.removeprefix(f"{source}_")) for each in video.values],
        captions=caption.values,
        groups=text.values,
        video=video.codes[first],
        text=caption.codes[first],
        group=text.codes[first],
        label=as_numpy(table.column("label").combine_chunks())[first],
        row=first,
        report=AnnotationReport(files=(str(path),), rows=table.num_rows),
    )


def _tagged(annotations: Annotations, judged: Judged, only: str) -> npt.NDArray[np.bool_]:
    """bool [M]: groups with this misalignment, type or other value of a breakdown."""
    columns = annotations.breakdown
    values = sorted({str(each) for column in columns.values() for each in column if each is not None})
    if not values:
        raise SchemaError("the task has no misalignments", found=f"--misalignment {only}", fix="Leave it out")
    choose(only, values, "misalignment of this task", error=SchemaError)
    has = np.zeros(len(judged.row), bool)
    for column in columns.values():
        has |= np.array([str(each) == only for each in column[judged.row]], bool)
    return has
