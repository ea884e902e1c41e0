"""The file forms of scores: columns of videos, texts and numbers, before they meet the annotations."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..captions.prompts import read_caption, which_prompt
from ..errors import SchemaError, ScoreError, SynvitaError
from ..schema import SCHEMA_VERSION, check_schema_version
from ..scoring.protocol import ScoreKind
from ..tables.csv_columns import Column, as_numpy, from_numpy, open_csv, placed
from ..tasks.annotations import Annotations, Ints

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]

# Names that a header may have, and nothing else may stand in it.
_VIDEO_NAMES = ("videopath", "video_path", "video")
_TEXT_NAMES = ("caption", "text", "prompt")
_SCORE_NAMES = ("entailment", "score")
_IGNORED_NAMES = ("pos", "neg")  # P(Yes) and P(No) of the first token; VideoCon says to ignore them
_HEADER_NAMES = frozenset((*_VIDEO_NAMES, *_TEXT_NAMES, *_SCORE_NAMES, *_IGNORED_NAMES))


@dataclass(frozen=True)
class ScoreColumns:
    """A score file as columns.

    Attributes:
        video: what names the video. text: int64 [R], code of each row's text.
        text_code: int64, for each distinct text its code in `Annotations.captions`, -1 for none.
        scores: float64 numbers of the given rows (int64). describe: the text of a row, for messages.
        check_file: raises if the file is broken in a way that fast reading forgave.
        form, header, prompts, kind, unended, score_last: see `PredictionCounts`; kind is None where the file does not say.
    """

    video: Column
    text: Ints
    text_code: Ints
    scores: Callable[[Ints], Floats]
    describe: Callable[[int], str]
    form: str
    header: bool = False
    prompts: tuple[str, ...] = ()
    kind: str | None = None
    unended: bool = False
    score_last: bool = False
    check_file: Callable[[], None] = field(default=lambda: None)


def read_score_columns(path: Path, annotations: Annotations) -> ScoreColumns:
    """The columns of a score file, `.parquet` or `.csv` by its suffix.

    Raises:
        SchemaError, ScoreError: see `read_predictions`.
    """
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return _from_parquet(path, annotations)
    if suffix == ".csv":
        return _from_csv(path, annotations)
    raise SchemaError(
        "not a format that scores are read from",
        file=path,
        found=f"suffix {path.suffix!r}",
        expected=".csv or .parquet",
    )


def _from_csv(path: Path, annotations: Annotations) -> ScoreColumns:
    csv = open_csv(path)
    names = csv.header()
    has_header = set(names) <= _HEADER_NAMES
    if has_header:
        positions = {
            "video": _position(names, _VIDEO_NAMES, path),
            "text": _position(names, _TEXT_NAMES, path),
            "score": _position(names, _SCORE_NAMES, path),
        }
    else:
        if len(csv.first) < 3:
            raise SchemaError(
                "a score file has too few columns",
                file=path,
                row=0,
                found=", ".join(csv.first),
                expected="videopath, caption (or prompt), score",
            )
        positions = {"video": 0, "text": 1, "score": 2}
    score = positions.pop("score")
    columns, numbers = csv.read_scores(positions, score, has_header=has_header)
    if not len(numbers):
        raise ScoreError("a score file has no rows", file=path)
    text = columns["text"]
    code_of = {caption: code for code, caption in enumerate(annotations.captions)}
    captions, faults = text.try_convert(read_caption)
    if faults:
        csv.check(has_header=has_header)
        rows = text.first_rows()
        code = min(faults, key=lambda code: int(rows[code]))
        raise _as_score_error(placed(faults[code], path, int(rows[code])))
    used = {prompt.name for prompt in map(which_prompt, text.values) if prompt is not None}

    return ScoreColumns(
        video=columns["video"],
        text=text.codes,
        text_code=np.array([code_of.get(caption or "", -1) for caption in captions], np.int64),
        scores=lambda rows: numbers.parse(rows, file=path, what="a score"),
        describe=lambda row: repr(captions[text.codes[row]]),
        form="csv",
        header=has_header,
        prompts=tuple(sorted(used)),
        unended=not _ends_with_line(path),
        # Only a score that is the last cell of its row can be cut and still be a number in a whole row.
        score_last=score == len(csv.first) - 1,
        check_file=lambda: csv.check(has_header=has_header),
    )


def _from_parquet(path: Path, annotations: Annotations) -> ScoreColumns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SchemaError("no such file", file=path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise SchemaError(
            "not a readable Parquet file",
            file=path,
            found=str(error),
            fix="It may have been cut off: write it again",
        ) from error
    metadata = table.schema.metadata or {}
    check_schema_version(metadata, file=str(path))
    needed = ("task", "video_id", "text_id", "caption", "score")
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise SchemaError(
            f"no column {', '.join(missing)}",
            file=path,
            found=", ".join(table.column_names),
            expected="item scores: task, item_id, video_id, text_id, caption, label, score",
        )
    if not table.num_rows:
        raise ScoreError("a score file has no rows", file=path)
    task, video, text_id, caption = (_coded(table.column(name), name, path) for name in needed[:4])
    for code, name in enumerate(task.values):
        if name != annotations.task:
            row = int(task.first_rows()[code])
            raise ScoreError(
                "a score is of another task", file=path, row=row, found=name, expected=annotations.task
            )
    # A text is known by its id, and its caption must be the one that the id stands for.
    code_of = {name: code for code, name in enumerate(annotations.text_ids)}
    pairs, codes = np.unique(np.stack([text_id.codes, caption.codes]), axis=1, return_inverse=True)
    codes = codes.reshape(-1)
    text_code = np.empty(pairs.shape[1], np.int64)
    for position, (id_code, caption_code) in enumerate(pairs.T.tolist()):
        found = code_of.get(text_id.values[id_code], -1)
        if found >= 0 and annotations.captions[found] != caption.values[caption_code]:
            raise ScoreError(
                "a score's caption is not the one that its text id stands for",
                file=path,
                row=int(np.flatnonzero(codes == position)[0]),
                found=repr(caption.values[caption_code]),
                expected=repr(annotations.captions[found]),
            )
        text_code[position] = found
    column = table.column("score")
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise SchemaError("the scores are not numbers", file=path, found=str(column.type))
    # A null becomes NaN, and is refused as one.
    numbers = as_numpy(column.cast(pa.float64()).combine_chunks().fill_null(float("nan")))

    return ScoreColumns(
        video=video,
        text=codes.astype(np.int64),
        text_code=text_code,
        scores=lambda rows: numbers[rows],
        describe=lambda row: repr(caption.cell(row)),
        form="parquet",
        kind=metadata.get(b"kind", b"").decode() or None,
    )


def item_scores(annotations: Annotations, rows: Ints, scores: Floats, kind: ScoreKind) -> "pa.Table":
    """See `predictions.item_scores_table`: the scores [R] of these rows [R] of the annotations."""
    import pyarrow as pa

    videos = [video.video_id for video in annotations.videos]
    items = [annotations.item_id_of(video) for video in annotations.videos]

    def repeated(values: Any, codes: Ints) -> Any:
        return pa.array(values, pa.string()).take(from_numpy(codes[rows]))

    columns = {
        "task": repeated([annotations.task], np.zeros(len(annotations), np.int64)),
        "item_id": repeated(items, annotations.video),
        "video_id": repeated(videos, annotations.video),
        "text_id": repeated(annotations.text_ids, annotations.text),
        "caption": repeated(annotations.captions, annotations.text),
        "label": from_numpy(annotations.label[rows]),
        "score": from_numpy(scores),
    }
    metadata = {"schema_version": SCHEMA_VERSION, "kind": kind, "annotations": annotations.revision}
    return pa.table(columns).replace_schema_metadata(metadata)


def _position(names: tuple[str, ...], known: tuple[str, ...], path: Path) -> int:
    found = [position for position, name in enumerate(names) if name in known]
    if len(found) != 1:
        raise SchemaError(
            f"a score file's header has {'no' if not found else 'more than one'} column {known[0]}",
            file=path,
            row="header",
            found=", ".join(names),
            expected="videopath, caption, entailment",
        )
    return found[0]


def _coded(column: Any, name: str, path: Path) -> Column:
    if column.null_count:
        raise SchemaError(f"{name} is empty", file=path, row=int(column.is_null().to_pylist().index(True)))
    encoded = column.cast("string").combine_chunks().dictionary_encode()
    return Column(as_numpy(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist())


def _as_score_error(error: SynvitaError) -> ScoreError:
    return ScoreError(
        error.problem,
        file=error.file,
        row=error.row,
        found=error.found,
        expected=error.expected,
        fix=error.fix,
    )


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.seek(-1, 2)
        return handle.read(1) in b"\r\n"
