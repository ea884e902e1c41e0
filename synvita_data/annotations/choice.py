"""Questions with options: NExT-QA's ATP-Hard, whose questions are five statements, in VideoCon's two file forms;
and files whose columns are declared.

The statements name no question id, and one video of ATP-Hard asks the same words twice, as questions of
different types. So ids come from `nextqa-atphard.csv`, where it lies beside the file, and rows are grouped by
them, never by video and words (see docs/tasks.md).
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..captions.prompts import read_caption
from ..errors import SchemaError, choose, located, parsing
from ..files import parse_json
from ..tables.cells import given_id, given_text, id_text, read_whole_number, strip_cell, unique_names
from ..tables.columns import Floats
from ..tables.csv import CsvFile, open_csv
from ..tables.rows import Fields
from ..tasks import COLUMNS, Task
from .declared import DeclaredRows
from .forms import Form, Metrics, OfficialJoin
from .mistakes import Grouped, Judged, Shown, by_margin, margins, show_question
from .questions import make_questions, read_questions
from .table import TYPES, AnnotationReport, Annotations, make_annotations, make_text_id
from .units import ScoredRows, Units, units_of_questions
from .videos import VideoRef, check_distinct, video_at

STATEMENTS = ("s0", "s1", "s2", "s3", "s4")
QUESTIONS_FILE = "nextqa-atphard.csv"
FOLDERS_FILE = "map_vid_vidorID.json"
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class _Question:
    """A question with its five statements; `answer` is the place of the right one."""

    video: VideoRef
    words: str
    answer: int
    statements: tuple[str, ...]
    row: int

    def made_id(self) -> str:
        """For questions whose NExT-QA id is not known: the same from either file form."""
        digest = make_text_id(json.dumps([self.words, self.answer, *self.statements]))
        return f"{self.video.name}_x{digest[:10]}"


class _Listed(NamedTuple):
    """A line of `nextqa-atphard.csv`."""

    question_id: str
    type: str


def read_choice(task: Task, path: Path) -> Annotations:
    """Five rows a question from `nextqa-atphard-statements.csv` (vid_id, question, answer, s0…s4) or
    `eval-nextqa-atphard.csv` (videopath, question, answer, option, caption); the group is the question id,
    `<video>_<qid>`, or a digest of the question where the list of questions is not at hand.

    Raises:
        SchemaError: columns are missing, an answer is not 0…4, a statement is empty, the five rows of a
            question do not follow one another, or it is not clear which listed question a row is.
    """
    csv = open_csv(path)
    report = AnnotationReport(files=(str(path),))
    read = _from_statements if "s0" in csv.header() else _from_options
    questions = read(task, csv, report)
    check_distinct((question.video for question in questions), path)
    listed_file, folders_file = path.with_name(QUESTIONS_FILE), path.with_name(FOLDERS_FILE)
    listed = None
    if listed_file.is_file() and listed_file != path:
        listed = _listed_questions(listed_file)
        report.files += (str(listed_file),)
    if folders_file.is_file():
        questions = _in_folders(questions, folders_file)
        report.files += (str(folders_file),)
    # Ids and types of the questions, from the list beside the file.
    identified = _identified(questions, listed, path, report)
    # The official script tells questions apart by video and words, and so loses those that share both.
    asked: dict[tuple[str, str], list[str]] = defaultdict(list)
    for question, found in identified:
        asked[question.video.name, question.words].append(found.question_id)
    report.asked_twice = tuple(each for same in asked.values() if len(same) > 1 for each in same)

    # A row of the file is a question in one form, and a statement in the other.
    rows = np.repeat(np.array([question.row for question, _ in identified], np.int64), 5)
    places = np.tile(np.arange(5), len(identified))
    file_order = (5 if read is _from_statements else 1) * rows + places
    captions = [statement for question, _ in identified for statement in question.statements]
    ids = [found.question_id for _, found in identified]
    count = len(identified)
    return make_annotations(
        task.name,
        videos=[question.video for question, _ in identified],
        captions=captions,
        groups=ids,
        video=np.repeat(np.arange(count), 5),
        text=np.arange(5 * count),
        group=np.repeat(np.arange(count), 5),
        label=np.array(
            [place == question.answer for question, _ in identified for place in range(5)], np.int8
        ),
        option=places,
        type=[found.type or None for _, found in identified for _ in range(5)],
        row=rows,
        file_order=file_order,
        report=report,
    )


def _cells(csv: CsvFile, *names: str) -> list[tuple[str, ...]]:
    """The cells of these columns, row by row."""
    with located(csv.path):
        positions = Fields.named(*names).choose(csv.first)
    columns = csv.columns(positions, has_header=True)
    return list(zip(*(columns[name].cells() for name in names), strict=True))


def _from_statements(task: Task, csv: CsvFile, report: AnnotationReport) -> list[_Question]:
    rows = _cells(csv, "vid_id", "question", "answer", *STATEMENTS)
    report.rows = len(rows)
    questions = []
    for row, (vid_id, words, answer, *statements) in enumerate(rows):
        with located(csv.path, row):
            video = VideoRef(task.source or "", _video_number(vid_id))
            questions.append(_question(video, words, answer, statements, row))
    return questions


def _from_options(task: Task, csv: CsvFile, report: AnnotationReport) -> list[_Question]:
    rows = _cells(csv, "videopath", "question", "answer", "option", "caption")
    report.rows = len(rows)
    questions = []
    for row in range(0, report.rows, 5):
        with located(csv.path, row):
            *same, options, texts = zip(*rows[row : row + 5], strict=True)
            numbers = [id_text(option.strip(), "option") for option in options]
            if numbers != list("01234") or any(len(set(values)) != 1 for values in same):
                raise SchemaError(
                    "the five options of a question do not follow one another",
                    found=f"options {', '.join(options)} of {' / '.join(sorted(set(same[0])))}",
                    expected="rows with option 0, 1, 2, 3, 4 of one video and question, as published",
                )
            videopath, words, answer = (values[0] for values in same)
            questions.append(_question(video_at(task.source or "", videopath), words, answer, texts, row))
    return questions


def _question(video: VideoRef, words: str, answer: str, statements: Sequence[str], row: int) -> _Question:
    if (text := given_text(words, "question")) is None:
        raise SchemaError("a question is empty")
    read = tuple(read_caption(statement, words_for_nothing=False) for statement in statements)
    return _Question(video, text, _place(answer), read, row)


def _place(cell: str) -> int:
    """0 to 4, also as pandas writes a float."""
    answer = read_whole_number(cell, "the answer")
    if answer > 4:
        raise SchemaError("the answer is not one of the five options", found=repr(cell), expected="0 to 4")
    return answer


def _video_number(cell: str) -> str:
    number = given_id(cell, "vid_id") or ""
    if not _DIGITS.fullmatch(number):
        raise SchemaError("vid_id is not an id of a NExT-QA video", found=repr(cell), expected="digits")
    return number


def _listed_questions(path: Path) -> dict[tuple[str, str, int], list[_Listed]]:
    """(video, words, answer) -> the questions of the list, in its order: several where one video asks the same
    words twice."""
    listed: dict[tuple[str, str, int], list[_Listed]] = defaultdict(list)
    row_of: dict[str, int] = {}
    cells = _cells(open_csv(path), "video", "question", "answer", "qid", "type")
    for row, (video, words, answer, qid, kind) in enumerate(cells):
        with located(path, row):
            choose(kind.strip(), TYPES, "type of question", error=SchemaError)
            number, place = _video_number(video), _place(answer)
            question_id = f"{number}_{read_whole_number(qid, 'qid')}"
            if row_of.setdefault(question_id, row) != row:
                raise SchemaError(
                    "two questions have one id", found=f"{question_id}, as row {row_of[question_id]}"
                )
        listed[number, strip_cell(words), place].append(_Listed(question_id, kind.strip()))
    return listed


def _identified(
    questions: list[_Question],
    listed: dict[tuple[str, str, int], list[_Listed]] | None,
    path: Path,
    report: AnnotationReport,
) -> list[tuple[_Question, _Listed]]:
    """Each question with its id and type. A question that repeats an earlier one in everything is dropped,
    unless the list has as many questions of these words as the file: then the k-th is the k-th."""
    alike: dict[tuple[str, str, int], list[_Question]] = defaultdict(list)
    for question in questions:
        alike[question.video.name, question.words, question.answer].append(question)
    result: list[tuple[_Question, _Listed]] = []
    for key, same in alike.items():
        known = [] if listed is None else listed.get(key, [])
        if len(same) != len(known):
            distinct = list({question.statements: question for question in reversed(same)}.values())[::-1]
            report.duplicates += len(same) - len(distinct)
            same = distinct
        if known and len(same) != len(known):
            raise SchemaError(
                "it is not clear which listed question this is",
                file=path,
                row=same[0].row,
                found=f"{len(same)} questions {same[0].words!r} of video {same[0].video.name}",
                expected=f"{len(known)}, as in {QUESTIONS_FILE}: {', '.join(q.question_id for q in known)}",
            )
        if not known:
            report.untyped += len(same)
            known = [_Listed(question.made_id(), "") for question in same]
        result += zip(same, known, strict=True)
    return result


def _in_folders(questions: list[_Question], path: Path) -> list[_Question]:
    """Give the videos NExT-QA's folders, `<folder>/<id>.mp4`, from its own map."""
    with parsing("this is not NExT-QA's map of video folders", file=path):
        folders = parse_json(path.read_text(encoding="utf-8"), foreign=True, object_pairs_hook=unique_names)
        if not isinstance(folders, dict) or not all(isinstance(value, str) for value in folders.values()):
            raise TypeError("not an object of strings")
    return [
        replace(question, video=replace(question.video, videopath=f"{folders[name]}.mp4"))
        if (name := question.video.name) in folders and question.video.videopath is None
        else question
        for question in questions
    ]


def _measure(
    a: Annotations, scores: Floats, kind: str, options: Metrics, official: OfficialJoin | None
) -> Metrics:
    from ..evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy

    # Questions of one video depend on each other; results of the paper's benchmark draw single questions.
    clusters = None if a.task in COLUMNS else a.video_id

    def measured(types: Any) -> Metrics:
        columns = {"options": a.option, "types": types, "clusters": clusters, "scored": ~np.isnan(scores)}
        return multiple_choice_accuracy(scores, a.label, a.group, **columns, **options)

    found = measured(a.type if "type" in a.breakdown else None)
    if a.declared:
        found["groups"] = {
            name: measured(column)["types"] for name, column in a.breakdown.items() if name != "type"
        }
    return found


def _units(rows: ScoredRows, scores: Floats, kind: str) -> Units:
    """Videos, with all their questions; a question is an item."""
    from ..evaluate_metrics.multiple_choice_accuracy.choice import COARSE_TYPES, multiple_choice_accuracy

    a = rows.annotations
    assert a is not None  # `from_tables` is empty
    found = multiple_choice_accuracy(
        scores,
        a.label,
        a.group,
        options=a.option,
        scored=rows.scored,
        partial=not rows.complete,
        per_question=True,
        resamples=0,
    )["questions"]
    breakdown = rows.breakdown
    if "type" in breakdown:
        coarse = np.array([COARSE_TYPES.get(each) for each in breakdown["type"]], object)
        breakdown = {"coarse type": coarse, **breakdown}
    return units_of_questions(rows, found, breakdown)


def read_declared_choice(rows: DeclaredRows) -> Annotations:
    """A question with its options a row; see `questions`.

    Raises:
        SchemaError: as of `read_questions`.
    """
    return make_questions(rows, read_questions(rows, options=True))


def _judge(a: Annotations, scores: Floats, kind: str) -> Judged:
    """A question is wrong where another option scores as high as the right one, or higher; the highest is chosen."""
    grouped = Grouped(a)

    def show(group: int) -> list[Shown]:
        return show_question(a, scores, grouped.rows(group))

    return by_margin(a, grouped, margins(a, grouped, scores), show, "questions")


FORM = Form(
    read=read_choice,
    read_declared=read_declared_choice,
    measure=_measure,
    units=_units,
    group="questions",
    official_leaves_out="several",
    judge=_judge,
)
