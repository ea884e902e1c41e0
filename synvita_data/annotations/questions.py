"""Questions about videos, as rows declare them: with options, or asked yes or no; and how they become texts."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..captions import Question
from ..errors import CaptionError, SchemaError
from ..files import parse_json
from ..tables.cells import strip_cell
from ..tasks import Task
from .declared import DeclaredRow, DeclaredRows, words
from .table import Annotations, make_annotations, make_text_id
from .videos import VideoRef, check_distinct

YES_NO = ("Yes", "No")
# What asks for the answer where a task says nothing.
LETTER_PROMPT = "\nAnswer with the letter of the right option:"
YES_NO_PROMPT = "\nAnswer yes or no:"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# `A. a dog`, `Sentence A: A dog.`, `Option 1: …`, `(C) …`: the letter or number, and the option's own words.
_LINE = re.compile(r"\s*(?:[A-Za-z]+\s+)?\(?([A-Z]|[0-9])\s*[.:)]\s*(\S.*)")
_ANSWERS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """One question about one video.

    Attributes:
        row: it is of.
        video: the video.
        stem: the question without its options.
        words: as the model reads it, with its options, without what asks for the answer.
        letters: of the options; () where it is asked yes or no.
        options: their words, aligned with `letters`.
        answer: place of the right option; 1 for yes and 0 for no.
        pair: id of its minimal pair; None where it has none.
    """

    row: DeclaredRow
    video: VideoRef
    stem: str
    words: str
    answer: int
    letters: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    pair: str | None = None

    def digest(self) -> str:
        """Of what is asked and the right answer: the id of a question that the file gives none."""
        return make_text_id(json.dumps([self.words, self.answer, *self.options]))[:10]


def read_questions(rows: DeclaredRows, *, options: bool | None) -> list[AskedQuestion]:
    """The questions of rows.

    Args:
        rows: of the task.
        options: whether they have options; None: those do that have a column for them, or lines in the question.

    Raises:
        SchemaError: a question or option is empty, an option stands twice, the answer is none of them, two questions have
            one id; with file and row, unless such rows are left out.
    """

    def read(row: DeclaredRow) -> AskedQuestion:
        video, text = rows.video(row, row.cells["video"]), words(row.cells["question"], "the question")
        pair = row.id("pair") if row.has("pair") else None
        if row.has("id"):
            rows.check_id(row, row.id("id"))
        lines = rows.task.option_lines
        if options is False or (options is None and not lines and not row.has("options")):
            return AskedQuestion(row, video, text, text, _yes_or_no(row.cells["answer"]), pair=pair)
        if lines:
            stem, letters, found = _in_lines(text)
            whole = text
        else:
            found = _listed(row.cells.get("options"))
            stem, letters = text, tuple(_LETTERS[: len(found)])
            listed = (f"{letter}. {each}" for letter, each in zip(letters, found, strict=True))
            whole = "\n".join((text, *listed))
        answer = _place(row.cells["answer"], letters, found, lines=text.split("\n")[1:] if lines else ())
        return AskedQuestion(row, video, stem, whole, answer, letters, found, pair)

    return [question for _, question in rows.each(read)]


def make_questions(rows: DeclaredRows, questions: Sequence[AskedQuestion]) -> Annotations:
    """Annotations with a row for each option of a question, or one for a question that is asked yes or no.

    As `letter`, a text is a question with its options, answered by the option's letter; as `statement` it is a caption
    made of question and option. Yes and no are always the answers of a question.

    Raises:
        CaptionError: more options than there are letters.
    """
    task = rows.task
    if not questions:
        raise rows.report.no_rows(task.name, Path(rows.report.files[0]))
    check_distinct((question.video for question in questions), Path(rows.report.files[0]))
    columns: dict[str, list[Any]] = {name: [] for name in ("question", "caption", "asked", "label", "option")}
    for at, question in enumerate(questions):
        for place, (caption, asked, label) in enumerate(_texts(task, question)):
            for name, value in zip(columns, (at, caption, asked, label, place), strict=True):
                columns[name].append(value)
    of = np.array(columns["question"], np.int64)
    given = [question.row for question in questions]
    breakdown = rows.breakdown(given)
    pairs = [question.pair for question in questions]
    return make_annotations(
        task.name,
        form=task.form,
        videos=[question.video for question in questions],
        captions=columns["caption"],
        questions=columns["asked"] if any(columns["asked"]) else (),
        groups=_ids(questions),
        video=of,
        text=np.arange(len(of)),
        group=of,
        label=np.array(columns["label"], np.int8),
        option=np.array(columns["option"], np.int64),
        row=np.array([row.row for row in given], np.int64)[of],
        file_order=np.arange(len(of)),
        declared={name: [values[at] for at in of] for name, values in breakdown.items()},
        minimal_pair=[pairs[at] for at in of] if any(pair is not None for pair in pairs) else None,
        report=rows.report,
    )


def _texts(task: Task, question: AskedQuestion) -> list[tuple[str, Question | None, int]]:
    """Caption, question and label of each text."""
    if not question.letters:
        asked = Question(question.words + (task.answer_prompt or YES_NO_PROMPT), YES_NO)
        return [(question.stem, asked, question.answer)]
    found: list[tuple[str, Question | None, int]] = []
    for place, option in enumerate(question.options):
        letter = None
        if task.scored_as == "letter":
            prompt = task.answer_prompt or LETTER_PROMPT
            letter = Question(question.words + prompt, question.letters, place)
        found.append((f"{question.stem} {option}", letter, int(place == question.answer)))
    return found


def _ids(questions: Sequence[AskedQuestion]) -> list[str]:
    """The ids of questions: the file's own, or made of the video and what is asked about it."""
    ids, seen = [], dict[str, int]()
    for question in questions:
        if question.row.has("id"):
            ids.append(question.row.id("id"))
            continue
        name = f"{question.video.unit}_x{question.digest()}"
        # One video may ask the same twice; both count.
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return ids


def _yes_or_no(value: Any) -> int:
    text = str(value).strip().lower().rstrip(".")
    if text.endswith(".0"):
        text = text[:-2]
    if text not in _ANSWERS:
        problem = "the question has no answer" if value is None or not text else "the answer is not yes or no"
        raise SchemaError(problem, found=None if value is None else repr(value), expected="yes or no")
    return int(_ANSWERS[text])


def _listed(value: Any) -> tuple[str, ...]:
    """The options of a cell: of several columns, a list, or a list in JSON. Empty columns at the end are none."""
    if isinstance(value, str):
        try:
            value = parse_json(value, foreign=True)
        except ValueError as error:
            raise SchemaError(
                "the options are not a list", found=repr(value), expected='a JSON list such as ["a", "b"]'
            ) from error
    if not isinstance(value, list | tuple):
        raise SchemaError("the options are not a list", found=repr(value), expected="two or more options")
    given = list(value)
    while given and (given[-1] is None or not strip_cell(str(given[-1]))):
        given.pop()
    return _checked(tuple(words(each, "an option") for each in given))


def _in_lines(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The question, the letters and the words of the options behind its first line."""
    stem, *lines = text.split("\n")
    matches = [_LINE.fullmatch(line) for line in lines]
    if not stem.strip() or not lines or not all(matches):
        wrong = next((line for line, match in zip(lines, matches, strict=True) if match is None), text)
        raise SchemaError(
            "the options of a question are not one a line, each with its letter",
            found=repr(wrong),
            expected="lines such as 'A. a dog'",
        )
    letters = tuple(match[1] for match in matches if match)
    if len(set(letters)) < len(letters):
        raise SchemaError("two options have one letter", found=", ".join(letters))
    return stem.strip(), letters, _checked(tuple(match[2].strip() for match in matches if match))


def _checked(options: tuple[str, ...]) -> tuple[str, ...]:
    if len(options) < 2:
        raise SchemaError("a question has too few options", found=list(options), expected="two or more")
    if len(options) > len(_LETTERS):
        raise CaptionError("a question has too many options", found=len(options), expected=f"{len(_LETTERS)}")
    if len(set(options)) < len(options):
        raise SchemaError("an option stands twice", found=list(options), expected="different options")
    return options


def _place(value: Any, letters: Sequence[str], options: Sequence[str], *, lines: Sequence[str]) -> int:
    """Which option the answer is: its words, its whole line, its letter, or its place from 0."""
    if value is None or not str(value).strip():
        raise SchemaError("the question has no answer", expected=f"one of {', '.join(options)}")
    text = strip_cell(str(value))
    stripped = [line.strip() for line in lines]
    for known in (stripped, options, letters):
        if text in known:
            return list(known).index(text)
    bare = text.rstrip(".)").lstrip("(")
    if bare in letters:
        return list(letters).index(bare)
    place = re.fullmatch(r"([0-9]+)(?:\.0)?", text)
    if place is not None and int(place[1]) < len(options):
        return int(place[1])
    raise SchemaError(
        "the answer is none of the options",
        found=repr(value),
        expected=f"{', '.join(map(repr, options))}, a letter of {', '.join(letters)}, or 0 to {len(options) - 1}",
    )
