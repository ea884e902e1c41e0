"""Score any pairs of a video and a text, without annotations, ids or contrast captions; `docs/scoring.md`.

    scores = score("LanguageBind/Video-LLaVA-7B-hf", ["a.mp4", "b.mp4"], ["a dog runs", "a cat sleeps"])
    scores.scores  # float64 [2]: one score a pair, in the order given

Pairs of one video are one item of a scorer: the video is decoded once, and its texts share its prefix. What is scored
lies in a store, so that a killed run resumes and several processes share the work, as in an evaluation.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..captions import Text
from ..errors import CaptionError, ContextError, MissingVideoError, SchemaError, SynvitaError, VideoError
from ..evaluation.scoring import EvaluationJob, complete_answers, item_key, scorer_facts
from ..jobs import JobProgress, work_key
from ..scoring import ScoreKind, Scorer, ScoringItem
from ..video.source import resolve

OnProgress = Callable[[JobProgress], None]
# A video, or the seconds of it that are looked at: its name, start and end.
Part = tuple[str, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """A video and a text to score it with.

    Attributes:
        video: the file, or the bytes of one.
        text: the caption, without a prompt.
        start, end: seconds of the file to look at, None for all of it.
        name: what the video is called in keys of stored work: where two pairs agree in it, they are of one video.
        row: of the table, from 0, for messages.
    """

    video: Path | bytes
    text: str
    start: float | None = None
    end: float | None = None
    name: str = ""
    row: int | None = None


@dataclass(slots=True)
class PairScores:
    """The scores of pairs, in their order.

    Attributes:
        scores: float64 [pairs]; NaN where the video could not be scored.
        kind: what the numbers mean: `log_odds`, `probability` or `similarity`.
        model: name of the scorer.
        errors: place of a pair -> why it has no score.
        texts: texts of each video, in the order given; what `by_video` divides by.
        videos: how many videos (or parts of one) were asked about.
        reused: how many of them had been scored before.
        texts_cut: texts of videos that the model could not take whole, where the scorer counts them.
    """

    scores: npt.NDArray[np.float64]
    kind: ScoreKind
    model: str
    errors: dict[int, SynvitaError] = field(default_factory=dict)
    texts: tuple[int, ...] = ()
    videos: int = 0
    reused: int = 0
    texts_cut: int = 0

    def by_video(self) -> list[npt.NDArray[np.float64]]:
        """`scores` as one array [texts] a video, for `score` with several texts a video."""
        return np.split(self.scores, np.cumsum(self.texts)[:-1])


def score(
    model: str | Scorer,
    videos: Any,
    texts: str | Sequence[str] | Sequence[Sequence[str]],
    *,
    work: str | Path | None = None,
    on_progress: OnProgress | None = None,
    **loading: Any,
) -> PairScores:
    """Score videos with texts, as `synvita score` does.

    Args:
        model: as of `open_scorer`, or a scorer that is open already.
        videos: a sequence of files, bytes or cells of a dataset (`{"bytes", "path"}`); or one of them.
        texts: one for all videos; or a sequence: one a video, or a sequence of texts for each. All are texts of it
            where `videos` is one video.
        work: folder where scores are kept: a second call with it resumes, several processes share it. None for none.
        on_progress: as of `run_job`.
        loading: of `open_scorer`: `device`, `dtype`, `frames`, `video_llm`, ….

    Returns:
        One score a pair: videos in the order given, the texts of each in theirs. A video that cannot be read has NaN,
        and its reason in `errors`.

    Raises:
        SynvitaError: the model cannot be loaded, or the scorer breaks the protocol.
        CaptionError: a text is empty, or the model cannot take it; `row` is the place of its video.
        SchemaError: not one text, or one sequence of texts, a video.
    """
    pairs, counts = _given_pairs(videos, texts)
    if isinstance(model, str):
        from ..scoring.open import open_scorer

        model = open_scorer(model, **loading)
    elif loading:
        raise SynvitaError("a scorer that is open has its own settings", found=", ".join(loading))
    with tempfile.TemporaryDirectory() as temporary:
        found = score_pairs(model, pairs, Path(work or temporary), on_progress=on_progress)
    assert found is not None
    found.texts = counts
    return found


def score_pairs(
    scorer: Scorer,
    pairs: Sequence[Pair],
    work: Path,
    *,
    file: Path | None = None,
    wait: bool = True,
    on_progress: OnProgress | None = None,
) -> PairScores | None:
    """The scores of pairs, as far as their videos can be read.

    A video that cannot be read is set aside with its reason, and looked at once more in every later run; so is a text that
    is too long beside its video.

    Args:
        scorer: the model.
        pairs: to be scored; equal ones are scored once.
        work: folder of stores, one for each way of scoring.
        file: where the pairs were read, for messages.
        wait: as of `evaluation.scoring.score_task`.
        on_progress: as of `run_job`, by this process only.

    Raises:
        CaptionError: a text is empty, or the model cannot take it with any video.
        SynvitaError: the scorer breaks the protocol, or fails. What is scored by then is kept.
        StoreError: `work` cannot be written.
    """
    check_scorer(scorer)
    check_texts(scorer, pairs, file)
    items, places, errors = _group(pairs)
    root = work / pairs_key(scorer)[:24]
    asked = _ask(scorer, items, root, wait, on_progress)
    if asked is None:
        return None
    answers, reused = asked
    # A text that is too long beside its video fails the video's other texts too: then each is asked by itself.
    alone = {
        (part, place): replace(
            item, item_id=f"{item.item_id}: {text.caption}", texts=(text,), text_ids=(text.caption,)
        )
        for part, item in items.items()
        if len(item.texts) > 1 and _is_too_long(answers[part])
        for place, text in enumerate(item.texts)
    }
    if alone:
        again = _ask(scorer, alone, root, wait, on_progress)
        assert again is not None
        answers = {part: answer for part, answer in answers.items() if (part, 0) not in alone}
        answers |= again[0]
    found = PairScores(np.full(len(pairs), np.nan), scorer.kind, scorer.name)
    found.videos, found.reused = len(items) + len(errors), reused
    for at, (part, place) in enumerate(places):
        lone = (part, place) in alone
        answer = errors.get(part) or answers[(part, place) if lone else part]
        if isinstance(answer, SynvitaError):
            found.errors[at] = answer
        else:
            found.scores[at] = answer["scores"][0 if lone else place]
    for answer in answers.values():
        if not isinstance(answer, SynvitaError):
            found.texts_cut += answer["details"].get("texts_cut", 0)
    return found


def _ask(
    scorer: Scorer,
    items: Mapping[Any, ScoringItem],
    root: Path,
    wait: bool,
    on_progress: OnProgress | None,
) -> tuple[dict[Any, Any], int] | None:
    """By the name of the item: the fields of its result, or why there is none; and how many were there before. None
    when others are to wait for it."""
    keys = {item_key(item, scorer): name for name, item in items.items()}
    job = EvaluationJob(
        scorer, f"{len(items):,} videos", {key: items[name] for key, name in keys.items()}, root
    )
    found = complete_answers(job, wait=wait, on_progress=on_progress)
    if found is None:
        return None
    answers = {
        name: found.fields[key] if key in found.fields else SynvitaError.from_record(found.errors[key])
        for key, name in keys.items()
    }
    return answers, found.reused


def _is_too_long(answer: Any) -> bool:
    """Whether a video has no scores because a text does not fit the model's context beside it."""
    return isinstance(answer, SynvitaError) and answer.to_record()["reason"] == ContextError.__name__


def pairs_key(scorer: Scorer) -> str:
    """Digest of everything that scores of pairs depend on, but for the videos and texts."""
    return work_key(**scorer_facts(scorer), pairs=1)


def check_scorer(scorer: Scorer) -> None:
    """Refuse a scorer whose scores depend on the rows of an annotation file.

    Raises:
        SynvitaError: it mirrors some of them.
    """
    if (flips := getattr(scorer, "flips", "none")) != "none":
        raise SynvitaError(
            "which videos are mirrored depends on the rows of a benchmark's file",
            file=scorer.name,
            found=f"flips {flips!r}",
            fix="Open the scorer with flips 'none'",
        )


def check_texts(scorer: Scorer, pairs: Iterable[Pair], file: Path | None = None) -> None:
    """Complain before long work about texts that cannot be scored with any video.

    Raises:
        CaptionError: a text is empty, or the model cannot take it; the first of its rows is named.
        ContextError: a text that is too long for the model with any video.
    """
    first: dict[str, Pair] = {}
    for pair in pairs:
        first.setdefault(pair.text, pair)
    for text, pair in first.items():
        if not text.strip():
            raise CaptionError("a text is empty", file=file, row=pair.row, expected="what a video may show")
    check = getattr(scorer, "check_texts", None)
    if check is None:
        return
    try:
        check(Text(text) for text in first)
    except SynvitaError:
        for text, pair in first.items():  # which of them it is
            try:
                check([Text(text)])
            except SynvitaError as error:
                raise error.at(file, pair.row) from None
        raise


# -- pairs and items --------------------------------------------------------------------------------------


def _given_pairs(videos: Any, texts: Any) -> tuple[list[Pair], tuple[int, ...]]:
    """The pairs of a call of `score`, and how many texts each video has."""
    if isinstance(videos, str | Path | bytes | bytearray | memoryview | Mapping):
        videos, texts = [videos], texts if isinstance(texts, str) else [list(texts)]
    videos = list(videos)
    lists = [texts] * len(videos) if isinstance(texts, str) else list(texts)
    if len(lists) != len(videos):
        raise SchemaError(
            "texts and videos are not equally many",
            found=f"{len(lists):,} texts for {len(videos):,} videos",
            expected="one text for all, or one text (or one list of texts) a video",
        )
    pairs = []
    for row, (cell, own) in enumerate(zip(videos, lists, strict=True)):
        video, name = _given_video(cell, row)
        for text in [own] if isinstance(own, str) else own:
            if not isinstance(text, str):
                raise SchemaError("a text is not text", row=row, found=repr(text), expected="str")
            pairs.append(Pair(video, text, name=name, row=row))
    return pairs, tuple(1 if isinstance(own, str) else len(own) for own in lists)


def _given_video(cell: Any, row: int) -> tuple[Path | bytes, str]:
    """A video as a file or bytes, and its name in keys."""
    if isinstance(cell, Mapping):
        data, path = cell.get("bytes"), cell.get("path")
        cell = path if data is None else data
    if isinstance(cell, bytes | bytearray | memoryview):
        content = bytes(cell)
        return content, hashlib.sha256(content).hexdigest()
    if not isinstance(cell, str | Path):
        raise SchemaError(
            "this is not a video",
            row=row,
            found=type(cell).__name__,
            expected="a path, bytes, or a mapping with 'bytes' and 'path'",
        )
    if isinstance(cell, str):
        refuse_url(cell, row=row)
    path = Path(cell).expanduser()
    return path, str(path.absolute())


def refuse_url(video: str, *, file: Path | None = None, row: int | None = None) -> None:
    """Refuse a video that is named by a URL: nothing is fetched here.

    Raises:
        SchemaError: it is one.
    """
    scheme, separator, _ = video.partition("://")
    if separator and scheme.replace("+", "").replace("-", "").replace(".", "").isalnum():
        raise SchemaError(
            "a video is named by a URL",
            file=file,
            row=row,
            found=video,
            expected="a file",
            fix="Download the video, and name the file",
        )


def _group(
    pairs: Sequence[Pair],
) -> tuple[dict[Part, ScoringItem], list[tuple[Part, int]], dict[Part, VideoError]]:
    """One item a video (or part of one) with its different texts; of each pair the item and the place of its text; and
    what is wrong with files that cannot even be looked at."""
    texts: dict[Part, dict[str, int]] = {}  # text -> place among its texts
    first: dict[Part, Pair] = {}
    places = []
    for pair in pairs:
        part = pair.name, pair.start, pair.end
        first.setdefault(part, pair)
        own = texts.setdefault(part, {})
        places.append((part, own.setdefault(pair.text, len(own))))
    items: dict[Part, ScoringItem] = {}
    errors: dict[Part, VideoError] = {}
    for part, pair in first.items():
        try:
            if pair.video == b"":
                raise MissingVideoError("a video has no bytes")
            resolve(pair.video)
        except VideoError as error:
            errors[part] = error
            continue
        own_texts = tuple(texts[part])
        whole = pair.start is None and pair.end is None
        items[part] = ScoringItem(
            item_id=pair.name if whole else f"{pair.name} {pair.start}-{pair.end}",
            video_id=pair.name,
            video=pair.video,
            texts=tuple(Text(text) for text in own_texts),
            text_ids=own_texts,
            start=pair.start,
            end=pair.end,
        )
    return items, places, errors
