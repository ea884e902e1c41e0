"""Score files of any origin, matched with a task's annotations: every score, or a reason.

Three forms are read: our item scores (Parquet), VideoCon's CSV (videopath, full prompt, entailment, and then
what it calls pos and neg) and SynViTA's (videopath, bare caption, entailment); the CSVs with or without a
header. The official scripts join such files with the annotations and silently drop what does not match;
here a row that matches nothing, and a text that has no score, is an error or is counted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ..annotations import Annotations, find_form
from ..annotations.forms import JOINS, OfficialJoin, first_rows, join_officially
from ..errors import ScoreError, choose, located
from ..schema import SCHEMA_VERSION
from ..scoring import ScoreKind
from ..tables.columns import Floats, Ints, from_numpy
from ..tasks import Task
from .score_columns import ScoreColumns, match_videos, read_score_columns

if TYPE_CHECKING:
    import pyarrow as pa

KINDS: tuple[ScoreKind, ...] = ("log_odds", "probability", "similarity")


@dataclass(frozen=True, slots=True)
class PredictionCounts:
    """What a score file held, in its own rows and in texts of the task.

    Attributes:
        file, form: `parquet` or `csv`.
        header: whether the CSV has one.
        rows: rows of the file.
        used: those that belong to the task.
        unknown: rows of no video or text of the task.
        repeated: rows that repeat an earlier score.
        scored, texts: k of n distinct (video, text) pairs of the task have a score.
        distinct_scores: how many different values; few mean that ties decide rankings.
        prompts: names of the prompts that captions stood in.
        unended: the CSV does not end with a line end (the released ones do not either); the number in its
            last row may have been cut, which nothing can show.
        score_last: that number is a score.
    """

    file: str
    form: str
    header: bool
    rows: int
    used: int
    unknown: int
    repeated: int
    scored: int
    texts: int
    distinct_scores: int
    prompts: tuple[str, ...]
    unended: bool
    score_last: bool

    @property
    def missing(self) -> int:
        """Texts without a score."""
        return self.texts - self.scored


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores aligned with the rows of the annotations.

    Attributes:
        scores: float64 [N], NaN where missing.
        kind: what the numbers mean.
        scored: bool [N], False where missing: the metrics' `scored`.
        counts: for the result file.
        official: with `join="official"`, the further scores of texts that have several; `scores` has the first.
        control: what was taken away from the videos, where the file says so.
    """

    scores: Floats
    kind: ScoreKind
    counts: PredictionCounts
    official: OfficialJoin | None = None
    control: str | None = None

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        return ~np.isnan(self.scores)

    @property
    def complete(self) -> bool:
        """Every text of the task has a score."""
        return self.counts.missing == 0


def read_predictions(
    path: str | Path,
    annotations: Annotations,
    task: Task | str | None = None,
    *,
    kind: ScoreKind | None = None,
    allow_missing: bool = False,
    allow_unknown: bool = False,
    join: str = "strict",
) -> Predictions:
    """Read a score file and match it with the annotations of its task.

    A row belongs to the video whose path its own path ends with, or whose name it has, and to the text whose
    caption it holds, bare or in a known prompt. A (video, text) that stands in several rows of the
    annotations gives them all its score. A row that repeats an earlier one with the same score is counted.

    Args:
        path: .csv or .parquet.
        task: checked against the annotations, if given.
        kind: what the scores mean. None: what the Parquet file says; otherwise `probability`, as all
            released scores are, if all lie in [0, 1], and an error if they do not.
        allow_missing: texts without a score become NaN and are counted.
        allow_unknown: rows of other videos or texts are passed over and counted.
        join: `strict`: a text has one score, and two different ones are an error. `official`: they are joined as the
            official scripts do (`annotations.forms`), which the released Video-LLaVA files may need.

    Raises:
        ScoreError: a score that is NaN, infinite or (for probabilities) outside [0, 1]; two different
            scores for one text; an unknown video or caption; a missing text; another task. The file and the
            row, counted from 0 without a header, are named.
        SchemaError: the file itself is broken or in another form; a file that was cut off is one of these
            or misses texts.
    """
    path = Path(path)
    with located(path):
        _check_task(task, annotations)
        choose(join, JOINS, "join", error=ScoreError)
        columns = read_score_columns(path, annotations)

        # The video and text that each row of the file means, and its place among the pairs of the task.
        video_of, unknown_video = match_videos(columns.video, annotations, path)
        video = video_of[columns.video.codes]
        text = columns.text_code[columns.text]
        keys, first_row = np.unique(annotations.pair_key, return_index=True)
        wanted = video * len(annotations.captions) + text
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known = (video >= 0) & (text >= 0) & (keys[place] == wanted)

        # Rows of other videos or texts.
        if not allow_unknown and not known.all():
            raise _unknown(columns, annotations, unknown_video, video, text, ~known)
        if not known.any():
            raise ScoreError(
                f"no row belongs to task {annotations.task}",
                found=f"{len(known):,} rows",
                expected="the task's score file",
            )

        if not known[0] and columns.form == "csv" and not columns.header:
            # Its first row has to be one of scores: an unknown header would be passed over, and its order with it.
            columns.scores(np.zeros(1, np.int64))

        # The numbers of the rows that belong to the task, and one of them for each pair.
        rows = np.flatnonzero(known)
        scores = columns.scores(rows)
        _check_finite(scores, rows)
        strict = join == "strict"
        value, repeated = _one_each(scores, rows, place[rows], len(keys), columns, strict)
        official = (
            None if strict else join_officially(annotations, find_form(annotations), place[rows], scores)
        )
        kind = _decide_kind(kind or columns.kind, scores, rows)

        # Pairs without a score.
        missing = np.flatnonzero(np.isnan(value))
        if len(missing) and not allow_missing:
            raise _missing(annotations, missing, first_row, columns)
        counts = PredictionCounts(
            file=str(path),
            form=columns.form,
            header=columns.header,
            rows=len(known),
            used=len(rows),
            unknown=len(known) - len(rows),
            repeated=repeated,
            scored=len(keys) - len(missing),
            texts=len(keys),
            distinct_scores=len(np.unique(scores)),
            prompts=columns.prompts,
            unended=columns.unended,
            score_last=columns.score_last,
        )
        return Predictions(value[annotations.pair], kind, counts, official, columns.control)


def _check_task(task: Task | str | None, annotations: Annotations) -> None:
    name = task.name if isinstance(task, Task) else task
    if name is not None and name != annotations.task:
        raise ScoreError("the annotations are of another task", found=annotations.task, expected=name)


def _check_finite(scores: Floats, rows: Ints) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        raise ScoreError(
            "a score is not a finite number",
            row=int(rows[wrong[0]]),
            found=f"{scores[wrong[0]]} ({wrong.size:,} such rows)",
            fix="Score these texts again; to leave a text out, leave its row out and allow missing scores",
        )


def _one_each(
    scores: Floats,
    rows: Ints,
    place: Ints,
    count: int,
    columns: ScoreColumns,
    strict: bool,
) -> tuple[Floats, int]:
    """The first score of each of `count` texts, NaN for none, and how many rows only repeat one; with `strict` two
    different ones are an error."""
    first = first_rows(place, count)
    different = scores != scores[first[place]]
    differs = np.flatnonzero(different)
    if strict and differs.size:
        later, earlier = int(differs[0]), int(first[place[differs[0]]])
        raise ScoreError(
            "one text of a video has two different scores",
            row=int(rows[later]),
            found=f"{scores[earlier]} in row {rows[earlier]}, {scores[later]} in row {rows[later]}, for "
            f"{columns.video.cell(int(rows[later]))}: {columns.describe(int(rows[later]))} "
            f"({differs.size:,} such rows)",
            expected="one score each",
            fix="Remove the rows that do not count, or score the texts again; --join official (join='official') takes them "
            "as the official scripts do, which files of the released Video-LLaVA may need",
        )
    value = np.full(count, np.nan)
    value[first >= 0] = scores[first[first >= 0]]
    return value, len(rows) - int((first >= 0).sum()) - int(different.sum())


def _decide_kind(kind: str | None, scores: Floats, rows: Ints) -> ScoreKind:
    if kind is not None:
        choose(kind, KINDS, "kind of score", error=ScoreError)
    outside = np.flatnonzero((scores < 0) | (scores > 1))
    if kind in (None, "probability") and outside.size:
        raise ScoreError(
            "a score is not a probability",
            row=int(rows[outside[0]]),
            found=f"{scores[outside[0]]} ({outside.size:,} such rows)",
            expected="a number in [0, 1]",
            fix=None if kind else "Say what the scores are: log_odds or similarity",
        )
    return cast(ScoreKind, kind or "probability")


def _unknown(
    columns: ScoreColumns,
    annotations: Annotations,
    unknown_video: dict[int, str],
    video: Ints,
    text: Ints,
    wrong: npt.NDArray[np.bool_],
) -> ScoreError:
    columns.check_file()  # a broken row can look like an unknown caption: say the cause, not the symptom
    row = int(np.flatnonzero(wrong)[0])
    name, caption = columns.video.cell(row), columns.describe(row)
    if video[row] < 0:
        why = unknown_video[int(columns.video.codes[row])]
        problem, found, expected = f"a row is of no video of the task ({why})", name, _example(annotations)
    elif text[row] < 0:
        problem, found = "a row's caption is not one of the task's", f"{caption} for {name}"
        expected = "a caption of the annotations, bare or in a known prompt, letter for letter"
    else:
        problem, found = "a row's caption belongs to other videos of the task", f"{caption} for {name}"
        expected = "one of the video's own texts"
    return ScoreError(
        problem,
        row=row,
        found=f"{found} ({int(wrong.sum()):,} such rows of {len(wrong):,})",
        expected=expected,
        fix="Take the score file of this task, or allow unknown rows: they are passed over and counted",
    )


def _example(annotations: Annotations) -> str:
    video = annotations.videos[0]
    return f"a path that ends like {video.videopath!r}" if video.videopath else f"a file named {video.name!r}"


def _missing(annotations: Annotations, missing: Ints, first_row: Ints, columns: ScoreColumns) -> ScoreError:
    columns.check_file()
    row = int(first_row[missing[0]])
    video = annotations.videos[annotations.video[row]]
    return ScoreError(
        f"{len(missing):,} of {len(first_row):,} texts have no score",
        row=len(columns.text),
        found=f"the file ends after {len(columns.text):,} rows; the first text without a score is "
        f"{annotations.captions[annotations.text[row]]!r} of {video.videopath or video.video_id} "
        f"(row {annotations.row[row]} of {annotations.report.files[0] if annotations.report.files else 'the annotations'})",
        expected="a score for every text",
        fix="Score what is missing, or allow missing scores: the result is then partial",
    )


def item_scores_table(
    annotations: Annotations, scores: Floats, kind: ScoreKind, official: OfficialJoin | None = None
) -> "pa.Table":
    """The rows that have a score as a table of item scores, which `read_predictions` reads: columns task, item_id,
    video_id, text_id, caption, label, score; kind and revision of the annotations in the metadata.

    Args:
        annotations: of the task.
        scores: float64 [N], aligned with the annotations; NaN where there is none.
        kind: what the scores mean.
        official: further scores of texts that have several, as further rows behind.
    """
    import pyarrow as pa

    rows = np.flatnonzero(~np.isnan(scores))
    values = np.asarray(scores, np.float64)[rows]
    if official is not None:
        rows, values = np.append(rows, official.rows), np.append(values, official.scores)

    def repeated(distinct: Any, codes: Ints) -> Any:
        return pa.array(distinct, pa.string()).take(from_numpy(codes[rows]))

    columns = {
        "task": repeated([annotations.task], np.zeros(len(annotations), np.int64)),
        "item_id": repeated(map(annotations.item_id_of, annotations.videos), annotations.video),
        "video_id": repeated([video.video_id for video in annotations.videos], annotations.video),
        "text_id": repeated(annotations.text_ids, annotations.text),
        "caption": repeated(annotations.captions, annotations.text),
        "label": from_numpy(annotations.label[rows]),
        "score": from_numpy(values),
    }
    metadata = {"schema_version": SCHEMA_VERSION, "kind": kind, "annotations": annotations.revision}
    return pa.table(columns).replace_schema_metadata(metadata)
