"""From what a model wrote to a contrast caption: the four labelled answers, or why they cannot be used.

The prompts ask for lines with labels, servers may be asked for JSON, and models write both as they like: in bold, in code
fences, with half of the quotes, after a greeting. What is meant is taken; what could be meant in two ways is refused.
Whether the contrast caption is one of its kind is not decided here but by the checks that all writers share.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synvita_data.errors import SynvitaError

from .base import Answer, Contrast, ContrastRequest

LONGEST = 2000  # characters of an answer
RAW_LINES, RAW_CHARACTERS = 8, 1000  # of a model's text in the quarantine

CONTRAST, SOURCE, TARGET, EXPLANATION = "contrast_caption", "source", "target", "explanation"
ANSWERS = (CONTRAST, SOURCE, TARGET, EXPLANATION)
_NAMES = {CONTRAST: "contrast caption", SOURCE: "source", TARGET: "target", EXPLANATION: "explanation"}
# Flip changes no phrase; what is added to a caption stands in no place of it.
_WITHOUT_PHRASES = "flip"
_WITHOUT_SOURCE = "hallucination"

# Labels of ours, of VideoCon's prompts, and what models make of them. The last are of what is not an answer.
_LABELS = {
    CONTRAST: r"contrast(?:ive)? (?:caption|sentence|description)|contrast|(?:changed|new|misaligned|modified|wrong) caption"
    r"|sentence ?\+[\w ]{0,30}misalignment",
    SOURCE: r"source(?: phrase| words?)?",
    TARGET: r"target(?: phrase| words?)?",
    EXPLANATION: r"explanation|correct misalignment|misalignment|reason",
    "": r"input(?: caption| sentence)?|(?:original )?caption|output|answers?",
}
_LABEL = re.compile(
    r"(?im)^[ \t]*(?:[-*•>#]+[ \t]+|\d{1,2}[.)][ \t]*|\([a-d1-4]\)[ \t]*)*[`\"']?(?P<bold>[*_]{1,3})?[`\"']?(?:"
    + "|".join(f"(?P<_{place}>{words})" for place, words in enumerate(_LABELS.values()))
    + r")[ \t]*(?:\([^()\n]{0,40}\))?[`\"']?(?P<ends>[*_]{1,3})?[`\"']?[ \t]*[:：=](?(ends)|(?(bold)[*_]{0,3}))[ \t]*"
)
# The same inside of a line: only the labels of what comes later, behind something that ends a text.
_INNER = re.compile(
    rf"(?i)(?<=[.\"'”’;,|)])(?<!\d[.)])[ \t]*(?:;|,|\||/)?[ \t]+(?=(?:{_LABELS[SOURCE]}|{_LABELS[TARGET]}|{_LABELS[EXPLANATION]})[ \t]*[:：])"
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*$", re.MULTILINE)
_THOUGHT = re.compile(r"(?is)^.*?</think(?:ing)?>|<think(?:ing)?>.*$")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`", "„": "“", "「": "」"}
_NOTHING = re.compile(
    r"(?i)[\W_]*(?:none|n/?a|null|nothing|empty|not applicable|no (?:source|target)(?: phrase)?)?[\W_]*"
)
_REFUSAL = re.compile(
    r"(?i)^\W*(?:(?:i(?:'|’)?m|i am|we(?:'|’)?re|we are) (?:sorry|afraid|unable|not able)|(?:very )?sorry\b|apologies|unfortunately"
    r"|(?:i|we) (?:can(?:'|’)?t|cannot|can not|won(?:'|’)?t|will not|do not|don(?:'|’)?t|must decline|refuse)\b|as an? (?:ai|language model|assistant)\b"
    r"|(?:this|the) (?:caption|request|sentence) (?:cannot|can(?:'|’)?t|can not|does not|doesn(?:'|’)?t)\b"
    r"|(?:it(?:'|’| i)s )?not possible\b|cannot be changed\b)"
)


class AnswerError(SynvitaError):
    """A model's answer cannot be used; `problem` says why, in words for the quarantine."""


def read_answer(text: str, caption: str, misalignment: str) -> Contrast:
    """The contrast caption in a model's answer.

    Phrases that do not stand where they should (the source in the caption, the target in the contrast caption) are left
    out, as are those of flip.

    Args:
        text: what the model wrote, whole.
        caption: that was asked about.
        misalignment: that was asked for.

    Raises:
        AnswerError: nothing, a refusal, a label missing or twice, a contrast caption that is empty, too long, the
            caption itself, or the caption with something behind or before it.
    """
    text = _bare(text)
    if not text:
        raise AnswerError("the model's answer is empty")
    found = _of_json(text)
    if found is None:
        found = _of_lines(text)
    if not found:
        if _REFUSAL.match(text):
            raise AnswerError("the model refused", found=_shown(text))
        raise AnswerError("the answer has no labels", found=_shown(text))
    needed = [CONTRAST, EXPLANATION] if misalignment == _WITHOUT_PHRASES else list(ANSWERS)
    if found.get(CONTRAST) and _REFUSAL.match(found[CONTRAST]) and not _REFUSAL.match(caption):
        raise AnswerError("the model refused", found=_shown(found[CONTRAST]))
    if missing := [_NAMES[name] for name in needed if name not in found]:
        raise AnswerError("an answer is missing", found=_shown(text), expected=f"the label {missing[0]!r}")
    for name, value in found.items():
        if len(value) > LONGEST:
            raise AnswerError(
                f"the {_NAMES[name]} is too long",
                found=f"{len(value):,} characters",
                expected=f"at most {LONGEST:,}",
            )
    contrast, explanation = found[CONTRAST], found[EXPLANATION]
    _check_contrast(contrast, caption, misalignment)
    if _NOTHING.fullmatch(explanation):
        raise AnswerError("the explanation is empty", found=_shown(text))
    source, target = (_phrase(found.get(name)) for name in (SOURCE, TARGET))
    if misalignment == _WITHOUT_PHRASES:
        source = target = None
    elif target is None or (source is None and misalignment != _WITHOUT_SOURCE):
        raise AnswerError(
            f"the {'source' if source is None else 'target'} phrase is empty", found=_shown(text)
        )
    return Contrast(
        contrast,
        source if source and _stands_in(source, caption) else None,
        target if target and _stands_in(target, contrast) else None,
        explanation,
    )


def answer_of(written: Sequence[tuple[str, bool]], request: ContrastRequest) -> Answer:
    """The answer that a model's texts are: different contrast captions, in order.

    Args:
        written: text of each candidate, and whether it came to its end; of one that was cut off, its last line does not
            count.
        request: that they answer.
    """
    found: dict[tuple[str, ...], Contrast] = {}
    problem = "the model wrote nothing"
    for text, ended in written:
        try:
            one = read_answer(
                text if ended else text.rpartition("\n")[0], request.caption, request.misalignment
            )
        except AnswerError as error:
            problem = str(error).rstrip(".") if ended else f"the answer was cut off: {error.problem}"
            continue
        found.setdefault(tuple(words_alike(one.neg_caption)), one)
    raw = cut_raw(written[0][0]) if written else None
    if not found:
        return Answer(refused=problem, raw=raw)
    return Answer(tuple(found.values()), raw=raw)


def cut_raw(text: str) -> str:
    """What a model wrote, cut to a few lines for the quarantine.

    Example:
        >>> cut_raw("a\\n\\nb")
        'a\\nb'
    """
    lines = [line.rstrip() for line in text.strip().splitlines() if line.strip()]
    kept = "\n".join(lines[:RAW_LINES])
    cut = len(lines) > RAW_LINES or len(kept) > RAW_CHARACTERS
    return kept[:RAW_CHARACTERS] + ("…" if cut else "")


def words_alike(text: str) -> list[str]:
    """The words by which two captions are held to be the same: without case, punctuation and white space."""
    return re.findall(r"\w+", text.casefold())


# -- what stands in the text ------------------------------------------------------------------------------


def _bare(text: str) -> str:
    """The text without what a model thought before it, and without code fences."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return _FENCE.sub("", _THOUGHT.sub("", text)).strip()


def _of_json(text: str) -> dict[str, str] | None:
    """The answers of the only JSON object in a text; None where there is no object with our keys.

    Raises:
        AnswerError: a key stands twice, an answer is no text, or there are two objects.
    """
    found: dict[str, str] | None = None
    decoder = json.JSONDecoder(object_pairs_hook=_pairs)
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except RecursionError:  # as would be what begins a brace later, and so on: no answer is as deep
            break
        except ValueError:
            place = text.find("{", place + 1)
            continue
        for each in _objects(value):
            answers = each.answers()
            if answers and found is not None:
                raise AnswerError("there are several answers", found=_shown(text), expected="one")
            found = answers or found
        place = text.find("{", end)
    return found


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that a key that stands twice is seen."""

    def answers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in self:
            name = _of_key(key)
            if name is None:
                continue
            if name in found:
                raise AnswerError("a label stands twice", found=key)
            if value is not None and not isinstance(value, str):
                raise AnswerError(f"the {_NAMES[name]} is not a text", found=type(value).__name__)
            found[name] = _tidy(value or "")
        return found if CONTRAST in found else {}


def _objects(value: Any, depth: int = 4) -> Iterator[_Object]:
    """The JSON objects in a value, itself and those inside of it: some models wrap their answer."""
    if isinstance(value, _Object):
        yield value
        value = [inner for _, inner in value]
    if isinstance(value, list) and depth:
        for inner in value:
            yield from _objects(inner, depth - 1)


def _pairs(pairs: list[tuple[str, Any]]) -> _Object:
    return _Object(pairs)


def _of_key(key: str) -> str | None:
    words = re.sub(r"[\W_]+", " ", key).strip()
    return next(
        (name for name, label in _LABELS.items() if name and re.fullmatch(f"(?i){label}", words)), None
    )


def _of_lines(text: str) -> dict[str, str]:
    """The answers of labelled lines; each goes on to the next label.

    Raises:
        AnswerError: a label stands twice.
    """
    found: dict[str, str] = {}
    labelled = list(_labelled(text))
    if {name for name, _ in labelled} & {CONTRAST, EXPLANATION} == {CONTRAST}:  # all in one line, perhaps
        labelled = list(_labelled(_INNER.sub("\n", text)))
    for name, value in labelled:
        if not name:
            continue
        if name in found:
            raise AnswerError("a label stands twice", found=_NAMES[name])
        found[name] = _tidy(value)
    return found


def _labelled(text: str) -> Iterator[tuple[str, str]]:
    """(answer, text behind its label), in order; "" for labels of what is not an answer."""
    labels = list(_LABEL.finditer(text))
    for place, label in enumerate(labels):
        end = labels[place + 1].start() if place + 1 < len(labels) else len(text)
        name = _name_of(label)
        value = text[label.end() : end]
        # `Source: Source: …`: the label again is no text.
        while (again := _LABEL.match(value)) and _name_of(again) == name:
            value = value[again.end() :]
        # Behind the last answer a model may go on to talk: an empty line ends it.
        yield name, value.strip().split("\n\n")[0] if name == EXPLANATION else value


def _name_of(label: re.Match[str]) -> str:
    return next(name for place, name in enumerate(_LABELS) if label[f"_{place}"] is not None)


def _tidy(value: str) -> str:
    """An answer on one line, without the quotes and marks around it."""
    value = " ".join(value.split())
    before = None
    while value != before:
        before = value
        value = _unmarked(value).strip()
    return value


def _unmarked(value: str) -> str:
    for mark in ("**", "__", "*", "`"):
        if len(value) > 2 * len(mark) and value.startswith(mark) and value.endswith(mark):
            return value[len(mark) : -len(mark)]
    first, closing = value[:1], _QUOTES.get(value[:1])
    if closing is not None:
        # An apostrophe inside of a word ends no quote.
        ending = re.search(rf"{closing}(?!\w)", value[1:])
        end = -1 if ending is None else ending.start() + 1
        rest = value[end + 1 :].strip() if end > 0 else ""
        # A quote around all of it, maybe with a full stop or a remark in brackets behind it.
        if end > 0 and (re.fullmatch(r"[.,;]?", rest) or re.fullmatch(r"[.,;]?\s*\([^()]*\)[.]?", rest)):
            return value[1:end]
        if end < 0 and (first != "'" or not value[1:2].isspace()):  # only the first of two
            return value[1:]
    last = value[-1:]
    if last in _QUOTES.values() and last != "'" and not any(mark in value[:-1] for mark in _pair_of(last)):
        return value[:-1]  # only the last
    return value


def _pair_of(closing: str) -> Iterator[str]:
    yield closing
    yield from (opening for opening, end in _QUOTES.items() if end == closing)


# -- what may be in it ------------------------------------------------------------------------------------


def _check_contrast(contrast: str, caption: str, misalignment: str) -> None:
    if _NOTHING.fullmatch(contrast):
        raise AnswerError("the contrast caption is empty", found=contrast)
    new, old = words_alike(contrast), words_alike(caption)
    if not new:
        raise AnswerError("the contrast caption has no words", found=contrast)
    if new == old:
        raise AnswerError("the contrast caption is the caption", found=contrast)
    # To add to the caption is what a hallucination is; but even there it stands once.
    times = (
        sum(new[place : place + len(old)] == old for place in range(len(new) - len(old) + 1)) if old else 0
    )
    if times > (1 if misalignment == _WITHOUT_SOURCE else 0):
        raise AnswerError("the contrast caption repeats the caption", found=contrast)


def _phrase(value: str | None) -> str | None:
    return None if value is None or _NOTHING.fullmatch(value) else value


def _stands_in(phrase: str, caption: str) -> bool:
    words, of = words_alike(phrase), words_alike(caption)
    return bool(words) and any(of[place : place + len(words)] == words for place in range(len(of)))


def _shown(text: str) -> str:
    return repr(" ".join(text.split())[:200])


# -- for servers that can be asked for JSON ---------------------------------------------------------------


def answer_schema(misalignment: str) -> Mapping[str, Any]:
    """The JSON schema of an answer, in the strict form that servers take: every key needed, no other."""
    names = [CONTRAST, EXPLANATION] if misalignment == _WITHOUT_PHRASES else list(ANSWERS)
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
