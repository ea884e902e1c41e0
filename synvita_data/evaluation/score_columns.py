"""The file forms of scores: columns of videos, texts and numbers, and which video of a task a path means."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..annotations import Annotations
from ..captions.prompts import read_caption, which_prompt
from ..errors import SchemaError, ScoreError, SynvitaError, choose, located
from ..real_videos.names import (
    VideoName,
    bare_path,
    flat_name,
    name_in_scheme,
    path_id,
    path_of_id,
    plain_path,
    video_stem,
)
from ..tables.cells import id_text
from ..tables.columns import Column, Floats, Ints, coded, number_column, read_parquet
from ..tables.csv import open_csv
from ..video.controls import CONTROLS

# Names of a header's columns; others beside them are not read.
_VIDEO_NAMES = ("videopath", "video_path", "video")
_TEXT_NAMES = ("caption", "text", "prompt")
_SCORE_NAMES = ("entailment", "score")
_IGNORED_NAMES = ("pos", "neg")  # P(Yes) and P(No) of the first token; VideoCon says to ignore them
# Of our Parquet: item scores.
_ITEM_COLUMNS = ("task", "video_id", "text_id", "score")
_CAPTION = "caption"  # which submitted tables leave out
_HEADER_NAMES = frozenset((*_VIDEO_NAMES, *_TEXT_NAMES, *_SCORE_NAMES, *_IGNORED_NAMES))


@dataclass(frozen=True)
class ScoreColumns:
    """A score file as columns.

    Attributes:
        video: what names the video.
        text: int64 [R], code of each row's text.
        text_code: int64, for each distinct text its code in `Annotations.captions`, -1 for none.
        scores: float64 numbers of the given rows (int64).
        describe: the text of a row, for messages.
        check_file: raises if the file is broken in a way that fast reading forgave.
        form, header, prompts, kind, unended, score_last: see `PredictionCounts`; kind is None where the file does not say.
        control: one of `video.controls.CONTROLS` where the file says that its scores are of a control.
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
    control: str | None = None
    unended: bool = False
    score_last: bool = False
    check_file: Callable[[], None] = field(default=lambda: None)


def read_score_columns(path: Path, annotations: Annotations) -> ScoreColumns:
    """The columns of a score file, `.parquet` or `.csv` by its suffix.

    Raises:
        SchemaError, ScoreError: see `read_predictions`.
    """
    read = {".csv": _from_csv, ".parquet": _from_parquet, ".pq": _from_parquet}.get(path.suffix.lower())
    if read is not None:
        with located(path):
            return read(path, annotations)
    raise SchemaError(
        "this is not a format that scores are read from",
        file=path,
        found=f"suffix {path.suffix!r}",
        expected=".csv or .parquet",
    )


def _from_csv(path: Path, annotations: Annotations) -> ScoreColumns:
    # The columns, by the header or, without one, by the order of the released files.
    csv = open_csv(path)
    names = csv.header()
    # No row of the released files has a cell of either kind of name, let alone of both.
    has_header = set(names) <= _HEADER_NAMES or all(
        set(names) & set(of) for of in (_VIDEO_NAMES, _TEXT_NAMES)
    )
    if has_header:
        positions = {
            "video": _position(names, _VIDEO_NAMES),
            "text": _position(names, _TEXT_NAMES),
            "score": _position(names, _SCORE_NAMES),
        }
    else:
        if len(csv.first) < 3:
            raise SchemaError(
                "a score file has too few columns",
                row=0,
                found=", ".join(csv.first),
                expected="videopath, caption (or prompt), score",
            )
        positions = {"video": 0, "text": 1, "score": 2}
    score = positions.pop("score")
    columns, numbers = csv.columns_and_numbers(positions, score, has_header=has_header)
    if not len(numbers):
        raise ScoreError("a score file has no rows")
    # Captions without their prompts, and which of the task's texts each is.
    text = columns["text"]
    code_of = {caption: code for code, caption in enumerate(annotations.captions)}
    if len(code_of) < len(annotations.captions):
        raise SchemaError(
            "several questions of this task have one caption, so that a CSV cannot say which is scored",
            expected="item scores (Parquet), which name each text by its id (docs/tasks.md)",
        )
    captions, faults = text.try_convert(read_caption)
    if faults:
        csv.check(has_header=has_header)
        rows = text.first_rows()
        code = min(faults, key=lambda code: int(rows[code]))
        raise faults[code].recast(ScoreError).at(path, int(rows[code]))
    used = {prompt.name for prompt in map(which_prompt, text.values) if prompt is not None}

    return ScoreColumns(
        video=columns["video"],
        text=text.codes,
        text_code=np.array([code_of.get(caption or "", -1) for caption in captions], np.int64),
        scores=lambda rows: numbers.parse(rows, "a score"),
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
    table = read_parquet(path, _ITEM_COLUMNS, (_CAPTION,))
    if not table.num_rows:
        raise ScoreError("a score file has no rows")
    task, video, text_id = (coded(table, name, path) for name in _ITEM_COLUMNS[:3])
    for code, name in enumerate(task.values):
        if name != annotations.task:
            row = int(task.first_rows()[code])
            raise ScoreError("a score is of another task", row=row, found=name, expected=annotations.task)
    # A text is known by its id, and its caption, where the table has captions, must be the one that the id stands for.
    code_of = {name: code for code, name in enumerate(annotations.text_ids)}
    if _CAPTION not in table.column_names:
        known = np.array([code_of.get(name, -1) for name in text_id.values], np.int64)
        return _item_columns(
            table, path, video, text_id.codes, known, lambda row: f"text {text_id.cell(row)}"
        )
    caption = coded(table, _CAPTION, path)
    pairs, codes = np.unique(np.stack([text_id.codes, caption.codes]), axis=1, return_inverse=True)
    codes = codes.reshape(-1)
    text_code = np.empty(pairs.shape[1], np.int64)
    for position, (id_code, caption_code) in enumerate(pairs.T.tolist()):
        found = code_of.get(text_id.values[id_code], -1)
        if found >= 0 and annotations.captions[found] != caption.values[caption_code]:
            raise ScoreError(
                "a score's caption is not the one that its text id stands for",
                row=int(np.flatnonzero(codes == position)[0]),
                found=repr(caption.values[caption_code]),
                expected=repr(annotations.captions[found]),
            )
        text_code[position] = found
    return _item_columns(table, path, video, codes, text_code, lambda row: repr(caption.cell(row)))


def _item_columns(
    table: Any, path: Path, video: Column, text: Ints, text_code: Ints, describe: Callable[[int], str]
) -> ScoreColumns:
    """The columns of item scores, whose texts are known."""
    numbers = number_column(table, "score", path)  # a null becomes NaN, and is refused as one
    control = table.schema.metadata.get(b"control")
    return ScoreColumns(
        video=video,
        text=text.astype(np.int64),
        text_code=text_code,
        scores=lambda rows: numbers[rows],
        describe=describe,
        form="parquet",
        kind=table.schema.metadata.get(b"kind", b"").decode(errors="replace") or None,
        control=choose(control.decode(), CONTROLS, "control", error=ScoreError) if control else None,
    )


def _position(names: tuple[str, ...], known: tuple[str, ...]) -> int:
    found = [position for position, name in enumerate(names) if name in known]
    if len(found) != 1:
        raise SchemaError(
            f"a score file's header has {'no' if not found else 'more than one'} column {known[0]}",
            row="header",
            found=", ".join(names),
            expected="videopath, caption, entailment",
        )
    return found[0]


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.seek(-1, 2)
        return handle.read(1) in b"\r\n"


# --- videos ----------------------------------------------------------------------------------------

# A path, a path without suffix, or (source, name) -> places in `Annotations.videos`.
_Codes = dict[Any, set[int]]


def match_videos(paths: Column, annotations: Annotations, file: Path) -> tuple[Ints, dict[int, str]]:
    """Video of the annotations for each distinct path, -1 for none, and why there is none.

    Scripts write a path under their own data folder, so a path means the video whose path in the annotations
    it ends with, whole folders only, the longest first; with another suffix, if none ends with it as it is.
    Where annotations give ids alone (NExT-QA's statements, VideoCon-Human's addresses), or spell paths in
    another way (SynViTA's flattened names), a path means the one video of its name. `<source>_<name>`, our
    own id, is understood too. A path that could mean several videos means none.

    Raises:
        ScoreError: two paths of the file mean one video, so that scores of different files would mix.
    """
    by_path: _Codes = {}
    by_bare: _Codes = {}
    by_last: _Codes = {}  # for a path without folders, which contradicts none
    by_name: _Codes = {}
    for code, video in enumerate(annotations.videos):
        by_path.setdefault(video.video_id, set()).add(code)
        # A flattened path is one part; of a name of its source's own it says what the name says.
        for bare in (path_of_id(video.name), flat_name(path_of_id(video.name))):
            by_bare.setdefault(bare.lstrip("/"), set()).add(code)
        if video.videopath:
            by_path.setdefault(plain_path(video.videopath.strip()), set()).add(code)
            by_bare.setdefault(bare_path(video.videopath.strip()), set()).add(code)
        by_last.setdefault(path_of_id(video.name).rpartition("/")[2], set()).add(code)
        by_name.setdefault((video.source, video.name), set()).add(code)
    sources = sorted({video.source for video in annotations.videos})
    result = np.full(len(paths.values), -1, np.int64)
    why: dict[int, str] = {}
    taken: dict[int, str] = {}
    for position, cell in enumerate(paths.values):
        normal = plain_path(_whole_number(cell))
        found = _by_ending(normal, by_path) or _by_name(normal, by_name, sources)
        found = found or _by_ending(bare_path(normal), by_bare)
        if not found and "/" not in normal:
            found = set(by_last.get(bare_path(normal), ()))
        if len(found) != 1:
            why[position] = "its name could be several" if found else "no path or name like it"
            continue
        code = found.pop()
        other = taken.setdefault(code, cell)
        if plain_path(other.strip()) != plain_path(cell.strip()):
            raise ScoreError(
                "two paths of a score file mean one video",
                file=file,
                row=int(paths.first_rows()[position]),
                found=f"{other} and {cell}, both {annotations.videos[code].video_id}",
                expected="one path for each video",
                fix="Split the file, or write the paths as the annotations do",
            )
        result[position] = code
    return result, why


def _by_ending(path: str, codes: _Codes) -> set[int]:
    ending = path
    while ending:
        if ending in codes:
            return set(codes[ending])
        ending = ending.partition("/")[2]
    return set()


def _by_name(path: str, by_name: _Codes, sources: list[str]) -> set[int]:
    found: set[int] = set()
    for source in sources:
        try:
            name = name_in_scheme(source, video_stem(path)) or VideoName(path_id(path))
        except SynvitaError:
            continue
        found |= by_name.get((source, name.video_id), set())
    return found


def _whole_number(cell: str) -> str:
    """`1524.0` as `1524`; a rounded number is no path of any video."""
    try:
        return id_text(cell.strip(), "a path")
    except SynvitaError:
        return cell.strip()
