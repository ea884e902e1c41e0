"""How much of a set of captions can be told without the video: a bag of words, cross-validated by video.

A caption and its contrast caption should differ in what the video shows. Where they differ in how they are written too,
words alone tell them apart, and a model that scores well may never have watched. Here that share is measured with the
plainest reader there is: words and pairs of neighbouring words, weighted by TF-IDF, and a logistic regression. Each text
is scored by a model that has seen no text of its video. The AUC of these scores is the *text-only AUC*: 50 where words
tell nothing.

- `TextOnlyModels`: fitted on labelled texts; scores any text by the model that its video was kept out of. What a writer
  of contrast captions needs to keep those that words do not give away.
- `text_only_auc`: the number of a dataset, and of each misalignment by models of its rows alone.

Nothing depends on the order of the rows, on Python's hash seed or on how many threads there are.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import OTHER_FORM, CaptionError
from ..tables.digests import Digests, digest_of
from .logistic import C, fit_logistic, tf_idf
from .ngrams import NGrams, words_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOLDS = 5
# A text has words and pairs of neighbouring words that stand in at least this many texts a model is fitted on.
MIN_TEXTS = 2
# Below this the number would say more of chance than of the captions: the standard error of an AUC is 4 points at 100 pairs.
MIN_PAIRS, MIN_VIDEOS = 100, 50
# Of more distinct pairs a sample of at most so many is measured: the models of a million take gigabytes, and the standard
# error of an AUC is 0.2 points at 50,000 pairs.
MOST_PAIRS, SAMPLE_PAIRS = 100_000, 50_000
# Models that are fitted at once; each needs its own copy of the counts.
_AT_ONCE = 2
# Raise it when equal captions would get another number.
RULE = 1


def settings() -> dict[str, Any]:
    """What the scores depend on beside the texts, JSON-ready, for results and reports."""
    return {
        "rule": RULE,
        "features": "tf-idf of words and bigrams",
        "min_texts": MIN_TEXTS,
        "C": C,
        "folds": FOLDS,
    }


def deal_folds(videos: Sequence[str], folds: int = FOLDS, *, seed: int = 0) -> dict[str, int]:
    """Video -> fold: the distinct videos in the order of a digest of their ids, dealt in turn.

    So folds differ by one video at most, and depend on nothing but the set of videos.

    Args:
        videos: ids, which may repeat.
        folds: how many.
        seed: another one deals otherwise.
    """

    def digest(video: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{video}".encode("utf-8", "surrogatepass")).digest()

    return {video: place % folds for place, video in enumerate(sorted(set(videos), key=digest))}


# --- the models --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Model:
    """One logistic regression.

    Attributes:
        columns: int64 [K], the n-grams it knows, as columns of the counts.
        rarity: float64 [K], the logarithm of their inverse document frequency, plus 1.
        weights: float64 [K].
        intercept: log-odds of a text that has none of them.
    """

    columns: Ints
    rarity: Floats
    weights: Floats
    intercept: float

    def log_odds(self, counts: "csr_matrix") -> Floats:
        found: Floats = tf_idf(counts[:, self.columns], self.rarity) @ self.weights + self.intercept
        return found


@dataclass(frozen=True, eq=False)
class TextOnlyModels:
    """Models of labelled texts, one a fold of videos. Made by `fit`.

    Attributes:
        fold: video -> its fold; the model of a fold was fitted on the texts of the others.
    """

    fold: Mapping[str, int]
    _ngrams: NGrams
    _models: tuple[_Model, ...]
    _of_all: _Model

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[int] | npt.NDArray[Any],
        videos: Sequence[str],
        *,
        seed: int = 0,
    ) -> "TextOnlyModels":
        """Fit a model for each fold of videos, and one of all.

        Args:
            texts: [N].
            labels: [N], 1 for a text that describes its video, 0 otherwise.
            videos: [N], ids.
            seed: of the folds.

        Raises:
            CaptionError: fewer videos than folds, or a model would see texts of one label only.
        """
        rows = _Rows.of(texts, labels, videos, seed)
        counted = _Counted.of(rows.texts)
        counts = counted.of_texts(rows.texts)
        *models, of_all = _fits(
            counts, rows.truth, [*map(rows.outside, range(FOLDS)), np.arange(len(rows.truth))]
        )
        return cls(rows.fold, counted.ngrams, tuple(models), of_all)

    def log_odds(self, texts: Sequence[str], videos: Sequence[str] | None = None) -> Floats:
        """float64 [N]: how much rather each text is one that describes its video, as the logarithm of the odds.

        Args:
            texts: any texts, such as candidates for contrast captions.
            videos: [N], ids; a text is scored by the model that has not seen its video. One that is in no fold, and
                every text for None, by the model of all.
        """
        if not len(texts):
            return np.zeros(0)
        counts = self._ngrams.count([words_of(text) for text in texts])
        of = np.array([-1 if videos is None else self.fold.get(videos[row], -1) for row in range(len(texts))])
        found = np.empty(len(texts))
        for each in np.unique(of).tolist():
            model = self._of_all if each < 0 else self._models[each]
            found[of == each] = model.log_odds(counts[of == each])
        return found


def out_of_fold(
    texts: Sequence[str],
    labels: Sequence[int] | npt.NDArray[Any],
    videos: Sequence[str],
    *,
    seed: int = 0,
) -> Floats:
    """float64 [N]: each text's log-odds by the model that has seen no text of its video.

    The same as `TextOnlyModels.fit(…).log_odds(texts, videos)`, and each text is read once.

    Args:
        texts: [N].
        labels: [N], 1 for a text that describes its video, 0 otherwise.
        videos: [N], ids.
        seed: of the folds.

    Raises:
        CaptionError: as of `TextOnlyModels.fit`.
    """
    rows = _Rows.of(texts, labels, videos, seed)
    return _out_of_fold(rows, _Counted.of(rows.texts))


def _out_of_fold(rows: "_Rows", counted: "_Counted") -> Floats:
    counts = counted.of_texts(rows.texts)
    found = np.empty(len(rows.truth))
    models = _fits(counts, rows.truth, list(map(rows.outside, range(FOLDS))))
    for each, model in enumerate(models):
        held_out = np.flatnonzero(rows.folds == each)
        found[held_out] = model.log_odds(counts[held_out])
    return found[rows.place]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Distinct texts of a video and label, in an order that is the same however they came: sums of floats depend on it.

    Attributes:
        texts: [M].
        truth: int64 [M], labels.
        folds: int64 [M], each in all but one of which its model is fitted.
        fold: video -> fold.
        place: int64 [N], which of the M each given row is.
    """

    texts: list[str]
    truth: Ints
    folds: Ints
    fold: dict[str, int]
    place: Ints

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        labels: Sequence[int] | npt.NDArray[Any],
        videos: Sequence[str],
        seed: int,
    ) -> "_Rows":
        if not len(texts) == len(labels) == len(videos):
            raise CaptionError(
                "columns of different length",
                found=f"{len(texts)} texts, {len(labels)} labels, {len(videos)} videos",
            )
        given = list(zip(map(str, videos), map(str, texts), map(int, labels), strict=True))
        distinct = sorted(set(given))
        place = {row: code for code, row in enumerate(distinct)}
        fold = deal_folds([video for video, _, _ in distinct], seed=seed)
        truth = np.array([label for _, _, label in distinct], np.int64)
        folds = np.array([fold[video] for video, _, _ in distinct], np.int64)
        _check(truth, folds, len(fold))
        return cls(
            texts=[text for _, text, _ in distinct],
            truth=truth,
            folds=folds,
            fold=fold,
            place=np.array([place[row] for row in given], np.int64),
        )

    def outside(self, fold: int) -> Ints:
        """Which rows are of other folds: those that the model of this one is fitted on."""
        return np.flatnonzero(self.folds != fold)


def check_labelled(labels: Sequence[int] | npt.NDArray[Any], videos: Sequence[str], *, seed: int = 0) -> None:
    """Raise what `out_of_fold` would raise of these rows, without reading a text.

    Raises:
        CaptionError: fewer videos than folds, or a model would see texts of one label only.
    """
    fold = deal_folds(videos, seed=seed)
    folds = np.array([fold[video] for video in videos], np.int64)
    _check(np.asarray(labels).astype(np.int64), folds, len(fold))


def _check(truth: Ints, folds: Ints, videos: int) -> None:
    if videos < FOLDS:
        raise CaptionError(
            "too few videos to cross-validate a text-only model by video",
            found=f"{videos} videos",
            expected=f"at least {FOLDS}",
        )
    labels = set(truth.tolist())
    if labels != {0, 1}:
        stray = sorted(labels - {0, 1})
        raise CaptionError(
            "a text-only model needs texts of both labels",
            found=f"label {stray[0]}" if stray else f"label {min(labels)} of all {len(truth):,} texts",
            expected="labels 1 (describes its video) and 0",
        )
    for each in range(FOLDS):
        seen = set(truth[folds != each].tolist())
        if seen != labels:
            raise CaptionError(
                "the texts of one label are all of videos of one fold, so one model would see none of them",
                found=f"label {min(labels - seen)} only in fold {each + 1} of {FOLDS}",
                expected="texts of both labels in more videos",
            )


@dataclass(frozen=True, eq=False)
class _Counted:
    """How often each distinct text has each n-gram. Which of these a model knows is for its own texts to say.

    Attributes:
        ngrams: of all texts.
        counts: int32 [distinct texts, n-grams].
        place: text -> its row.
    """

    ngrams: NGrams
    counts: "csr_matrix"
    place: dict[str, int]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "_Counted":
        distinct = sorted(set(texts))
        ngrams, counts = NGrams.counted([words_of(text) for text in distinct])
        return cls(ngrams, counts, {text: row for row, text in enumerate(distinct)})

    def of_texts(self, texts: Sequence[str]) -> "csr_matrix":
        return self.counts[[self.place[text] for text in texts]]


def _fits(counts: "csr_matrix", truth: Ints, parts: Sequence[Ints]) -> list[_Model]:
    """Models of parts of the rows, a few at a time: a product with a sparse matrix leaves the interpreter to other threads."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(partial(_fit, counts, truth), parts))


def _fit(counts: "csr_matrix", truth: Ints, rows: Ints) -> _Model:
    """A model of some rows, of which alone it takes vocabulary and frequencies."""
    own = counts[rows]
    texts_with = np.bincount(own.indices, minlength=counts.shape[1])
    columns = np.flatnonzero(texts_with >= MIN_TEXTS)
    if not len(columns):  # a handful of texts: better every word than none
        columns = np.flatnonzero(texts_with)
    # Columns of like length next to each other: their sums are a fifth quicker.
    columns = columns[np.argsort(-texts_with[columns], kind="stable")]
    own = own[:, columns]
    rarity = np.log((1 + len(rows)) / (1 + texts_with[columns])) + 1
    return _Model(columns, rarity, *fit_logistic(tf_idf(own, rarity), truth[rows] > 0))


# --- the number of a dataset -------------------------------------------------------------------------


class CaptionPair(NamedTuple):
    """A caption and a contrast caption of a video; `misalignment` is None where it is not known."""

    video: str
    caption: str
    contrast: str
    misalignment: str | None = None


@dataclass(frozen=True, slots=True)
class TextOnlyShare:
    """What words tell of some pairs.

    Attributes:
        pairs, videos: distinct ones.
        auc: of the out-of-fold log-odds of captions and contrast captions, in percent; None where there are too few.
        pairs_right: share of pairs whose caption has the higher log-odds, a tie counting half, in percent; as `auc`.
    """

    pairs: int
    videos: int
    auc: float | None = None
    pairs_right: float | None = None

    def __str__(self) -> str:
        if self.auc is None:
            return "too few rows for a text-only AUC"
        return f"{self.auc:.1f} ({self.pairs_right:.1f}% of {self.pairs:,} pairs right)"


@dataclass(frozen=True, slots=True)
class TextOnly:
    """The text-only AUC of a dataset.

    Attributes:
        overall: by models of all pairs.
        misalignments: of each that has pairs, by models of these pairs alone.
        sample_of: how many pairs there are, where these are a sample; None where they are all.
    """

    overall: TextOnlyShare
    misalignments: Mapping[str, TextOnlyShare]
    sample_of: int | None = None

    def text(self) -> str:
        """One line: `70.8 (74.6% of 16,854 pairs right); action 65.4 (…), flip 79.8 (…)`."""
        kinds = ", ".join(f"{name} {share}" for name, share in self.misalignments.items())
        sample = "" if self.sample_of is None else f", a sample of {self.sample_of:,} pairs"
        return f"{self.overall}{sample}" + (f"; {kinds}" if kinds and self.overall.auc is not None else "")

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form, of `build.json`. Two decimals, which the last bits of a machine do not reach."""
        return {
            "settings": settings(),
            **_share_record(self.overall),
            "misalignments": {name: _share_record(share) for name, share in self.misalignments.items()},
            **(
                {}
                if self.sample_of is None
                else {"sample_of": self.sample_of, "sampled_by": "digest of the video"}
            ),
        }

    @classmethod
    def from_record(cls, record: Any) -> "TextOnly | None":
        """What `to_record` wrote; None for anything else, and for what other settings gave."""
        try:
            if record["settings"] != settings():
                return None
            shares = {str(name): _read_share(share) for name, share in record["misalignments"].items()}
            sample_of = record.get("sample_of")
            return cls(_read_share(record), shares, None if sample_of is None else int(sample_of))
        except OTHER_FORM:
            return None


class PairSample:
    """Distinct pairs: all of up to `MOST_PAIRS`; of more a sample, the same in whatever order they come.

    A sample has all pairs of some videos: those whose digests come first, as many as have `SAMPLE_PAIRS` pairs at most.

    Attributes:
        pairs: those that may be measured.
        total: distinct ones that were added.
    """

    def __init__(self) -> None:
        self.pairs: set[CaptionPair] = set()
        self._known = Digests()
        self._end: bytes | None = None  # the first digest of a video that is not in the sample

    @property
    def total(self) -> int:
        return len(self._known)

    def add(self, pair: CaptionPair) -> None:
        """Take one more, which may have come before."""
        self._known.add(digest_of(repr(tuple(pair))))
        if self._end is None or digest_of(pair.video) < self._end:
            self.pairs.add(pair)
            if len(self.pairs) > MOST_PAIRS:
                self._cut()

    def drawn(self) -> list[CaptionPair]:
        """The pairs to measure, in order."""
        if self.total > MOST_PAIRS:
            self._cut()
        return sorted(self.pairs, key=lambda pair: tuple(map(str, pair)))

    def _cut(self) -> None:
        """Leave so many videos, by digest, that all their pairs are a sample's."""
        if len(self.pairs) <= SAMPLE_PAIRS:
            return
        in_order = sorted(((digest_of(pair.video), pair) for pair in self.pairs), key=itemgetter(0))
        self._end = in_order[SAMPLE_PAIRS][0]
        self.pairs = {pair for digest, pair in in_order if digest < self._end}


def text_only_auc(pairs: Iterable[CaptionPair] | PairSample) -> TextOnly:
    """How far captions are told from contrast captions without the video: 50 not at all, 100 always.

    Pairs that repeat (several synthetic videos of one pair) count once.
    """
    if not isinstance(pairs, PairSample):
        given, pairs = pairs, PairSample()
        for pair in given:
            pairs.add(pair)
    distinct = pairs.drawn()
    found = _measured(distinct)
    return found if len(distinct) == pairs.total else replace(found, sample_of=pairs.total)


def _measured(distinct: Sequence[CaptionPair]) -> TextOnly:
    by_kind: dict[str, list[CaptionPair]] = {}
    for pair in distinct:
        if pair.misalignment is not None:
            by_kind.setdefault(pair.misalignment, []).append(pair)
    if not _enough(distinct):
        return TextOnly(
            _share(distinct, None), {name: _share(own, None) for name, own in sorted(by_kind.items())}
        )
    counted = _Counted.of(text for pair in distinct for text in (pair.caption, pair.contrast))
    overall = _share(distinct, counted)
    if [len(own) for own in by_kind.values()] == [len(distinct)]:  # the same pairs
        return TextOnly(overall, dict.fromkeys(by_kind, overall))
    return TextOnly(overall, {name: _share(own, counted) for name, own in sorted(by_kind.items())})


def _enough(pairs: Sequence[CaptionPair]) -> bool:
    return len(pairs) >= MIN_PAIRS and len({pair.video for pair in pairs}) >= MIN_VIDEOS


def _share(pairs: Sequence[CaptionPair], counted: _Counted | None) -> TextOnlyShare:
    from ..evaluate_metrics.entailment_auc.auc import entailment_auc

    videos = {pair.video for pair in pairs}
    if counted is None or not _enough(pairs):
        return TextOnlyShare(len(pairs), len(videos))
    rows = [
        (text, label, pair.video, str(place))
        for place, pair in enumerate(pairs)
        for text, label in ((pair.caption, 1), (pair.contrast, 0))
    ]
    texts, labels, of, places = (list(column) for column in zip(*rows, strict=True))
    scores = _out_of_fold(_Rows.of(texts, labels, of, seed=0), counted)
    found = entailment_auc(scores, labels, of, texts=texts, pairs=places, kind="log_odds", resamples=0)
    return TextOnlyShare(
        pairs=len(pairs),
        videos=len(videos),
        auc=round(found["auc"]["value"], 2),
        pairs_right=round(found["paired_accuracy"]["value"], 2),
    )


def _share_record(share: TextOnlyShare) -> dict[str, Any]:
    return {name: getattr(share, name) for name in TextOnlyShare.__slots__}


def _read_share(record: Mapping[str, Any]) -> TextOnlyShare:
    auc, right = (None if record[name] is None else float(record[name]) for name in ("auc", "pairs_right"))
    if (auc is None) != (right is None):
        raise ValueError("one of two measures")
    return TextOnlyShare(int(record["pairs"]), int(record["videos"]), auc, right)
