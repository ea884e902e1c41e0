"""The CSVs that SynViTA's authors train on, read as triplets: `train_llm_mix_entail_feedback_cogvideox.csv`.

One row is one text with one video. Columns: `videopath`, `caption` (VideoCon's whole prompt with its answer: `Yes`,
`No`, or an explanation), `label`, `domain` (`real` or `synthetic`), `syn_video` (on real rows: the name of the synthetic
video without suffix), `alignment`, `alignment_diff`; any order, others are ignored. The rows of one synthetic video V^s
make a triplet, as the released trainers put them together:

| domain, label | its caption |
|---|---|
| synthetic, 1 | t^s, the contrast caption it was made from |
| synthetic, 0 | t^r, the caption of the real video |
| real, 1 and 0 (with `syn_video`) | t^r and t^s, on the real video |
| real, an explanation (without) | t^s, answered by what is wrong with it for the real video |

An empty `alignment` or `alignment_diff` counts as 1.0, as in the released code; how many there are is counted.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from synvita_data.captions.prompts import explanation_prompt, get_prompt, read_caption
from synvita_data.display import get_logger
from synvita_data.errors import CaptionError, SchemaError, ScoreError, SynvitaError, located
from synvita_data.real_videos.names import video_stem
from synvita_data.schema import Triplet
from synvita_data.synthetic_videos.names import generator_in, parse_clip_name
from synvita_data.tables.cells import given_text, read_number
from synvita_data.tables.rows import Fields, normal_name, read_rows

from .triplets import ReadReport, TripletReader, parse_triplet

logger = get_logger(__name__)

_COLUMNS = ("videopath", "caption", "label", "domain", "syn_video")
_SCORES = ("alignment", "alignment_diff")
FIELDS = Fields.named(
    *_COLUMNS,
    optional=(*_SCORES, "source", "split", "misalignment"),
)
_OF_ROW = ("source", "split", "misalignment")
_ENTAIL = get_prompt("mplug-owl")
_EXPLAIN = explanation_prompt(_ENTAIL)
_ANSWERED = re.compile(
    "|".join(
        f"{re.escape(prompt.before)}(?P<{name}>.*?){re.escape(prompt.after.rstrip())}(?P<answer_{name}>.*)"
        for name, prompt in (("entail", _ENTAIL), ("explain", _EXPLAIN))
    ),
    re.DOTALL,
)
_LABELS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0}


@dataclass
class TrainingReport(ReadReport):
    """What became of the rows of a training CSV; they are several a triplet.

    Attributes:
        generator: that made the synthetic videos, by the folders of their paths or the file's name; None where
            neither says.
        unpaired: real rows without `syn_video` that ask whether a caption is right.
        explanations: rows that explain a contrast caption. unused_explanations: those of no triplet.
        empty_alignment, empty_alignment_diff: triplets whose cell is empty, which counts as 1.0.
        alignment_does_not_fit: triplets whose `alignment` and `alignment_diff` do not add up to a probability.
    """

    generator: str | None = None
    unpaired: int = 0
    explanations: int = 0
    unused_explanations: int = 0
    empty_alignment: int = 0
    empty_alignment_diff: int = 0
    alignment_does_not_fit: int = 0

    def record(self) -> dict[str, Any]:
        """What a build's report keeps."""
        own = {each.name for each in fields(self)} - {each.name for each in fields(ReadReport)}
        return {name: getattr(self, name) for name in sorted(own | {"triplets"})}


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of the file, checked by itself."""

    row: int
    videopath: str
    caption: str
    label: int
    alignment: float | None = None
    diff: float | None = None
    cells: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Rows:
    """The rows of one synthetic video."""

    synthetic: list[_Line] = field(default_factory=list)
    real: list[_Line] = field(default_factory=list)

    @property
    def first(self) -> int:
        return min(line.row for line in (*self.synthetic, *self.real))


def open_triplets(
    path: str | Path,
    *,
    on_bad: Callable[[SynvitaError], None] | None = None,
    split: str | None = None,
    source: str | None = None,
) -> "TripletReader | TrainingCsvReader":
    """The reader of an annotation file: of one of the authors' training CSVs where it has their columns.

    Args:
        path, on_bad, split, source: as of `TripletReader`.
    """
    kind = TrainingCsvReader if is_training_csv(Path(path)) else TripletReader
    return kind(path, on_bad=on_bad, split=split, source=source)


def is_training_csv(path: Path) -> bool:
    """Whether the first line of a CSV has the columns of a training CSV; whatever cannot be read is none."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    try:
        with path.open(encoding="utf-8-sig") as handle:
            head = handle.readline(1 << 16)
    except (OSError, UnicodeDecodeError):
        return False
    found = {normal_name(name.strip('"')) for name in re.split(r"[,;\t]", head.strip())}
    return found >= set(_COLUMNS)


class TrainingCsvReader(TripletReader):
    """Iterate over the triplets of a training CSV, then look at `report`; as `TripletReader`.

    The file is read whole: its rows are put together by `syn_video`. Rows that make no triplet are quarantined or
    counted, each under its reason.
    """

    report: TrainingReport

    def __iter__(self) -> Iterator[Triplet]:
        report = self.report = TrainingReport()
        file = str(self.path)
        videos: dict[str, _Rows] = {}
        explained: dict[tuple[str, str], tuple[str, int]] = {}
        for row, cells in read_rows(self.path, FIELDS, "training rows"):
            report.rows += 1
            try:
                if isinstance(cells, SynvitaError):
                    raise cells
                with located(file, row):
                    self._sort_in(row, cells, videos, explained)
            except SynvitaError as error:
                self._refuse(error, row)
        if not report.rows:
            raise SchemaError("the file has no rows", file=self.path)
        report.generator = _generator_of(self.path, videos.values())
        pairs: dict[str, int] = {}
        used: set[tuple[str, str]] = set()
        for name, rows in sorted(videos.items(), key=lambda item: item[1].first):
            try:
                with located(file, rows.first):
                    triplet = self._put_together(name, rows, explained)
                    first = pairs.setdefault(triplet.pair_id, rows.first)
                    if first != rows.first:
                        raise SchemaError(
                            "two synthetic videos of one video and one pair of captions",
                            found=f"{name}, and the one of row {first}",
                            expected="one a contrast caption",
                        )
            except SynvitaError as error:
                self._refuse(error, rows.first)
                continue
            report.triplets += 1
            used.update((line.videopath, triplet.neg_caption) for line in rows.real)
            self._count(triplet, rows)
            yield triplet
        report.unused_explanations = len(explained.keys() - used)
        level = logging.WARNING if report.quarantined else logging.INFO
        logger.log(level, "%s: %s", file, report)

    def _refuse(self, error: SynvitaError, row: int) -> None:
        error.at(str(self.path), row)
        self.report.quarantined.append(error)
        if self._on_bad is not None:
            self._on_bad(error)

    def _sort_in(
        self,
        row: int,
        cells: Mapping[str, Any],
        videos: dict[str, _Rows],
        explained: dict[tuple[str, str], tuple[str, int]],
    ) -> None:
        """Put one row to those of its synthetic video, or to the explanations."""
        videopath = _needed(cells, "videopath")
        domain = _needed(cells, "domain").lower()
        caption, answer, explains = _read_prompt(_needed(cells, "caption"))
        if domain not in ("real", "synthetic"):
            raise SchemaError("domain is neither real nor synthetic", found=repr(domain))
        name = given_text(cells.get("syn_video"), "syn_video") if domain == "real" else video_stem(videopath)
        if explains:
            self.report.explanations += 1
            if domain == "synthetic":
                raise SchemaError("an explanation is of a synthetic video", expected="of a real one")
            explained.setdefault((videopath, caption), (answer, row))
            return
        label = _LABELS.get(_needed(cells, "label"))
        if label is None:
            raise SchemaError("label is neither 1 nor 0", found=cells.get("label"))
        if answer and answer.strip().rstrip(".").lower() != ("no", "yes")[label]:
            raise SchemaError(
                "the answer in the caption is not that of the label",
                found=f"{answer.strip()!r}, label {label}",
                expected=f"{('No', 'Yes')[label]}",
            )
        if name is None:
            self.report.unpaired += 1
            return
        rows = videos.setdefault(video_stem(name), _Rows())
        if domain == "real":
            more = {column: cells[column] for column in _OF_ROW if column in cells}
            rows.real.append(_Line(row, videopath, caption, label, cells=more))
        else:
            scores = (_number(cells, "alignment", 0.0), _number(cells, "alignment_diff", -1.0))
            rows.synthetic.append(_Line(row, videopath, caption, label, *scores))

    def _put_together(
        self, name: str, rows: _Rows, explained: Mapping[tuple[str, str], tuple[str, int]]
    ) -> Triplet:
        """The triplet of one synthetic video.

        Raises:
            SynvitaError: a row of the four is missing, there is another one too many, or they contradict each other.
        """
        for lines, domain in ((rows.synthetic, "synthetic"), (rows.real, "real")):
            if not lines:
                raise SchemaError(
                    f"a synthetic video has no {domain} rows",
                    found=name,
                    expected="synthetic rows of label 1 and 0, and real rows whose syn_video names it",
                    fix="The released trainers stop at such a row" if domain == "synthetic" else None,
                )
        neg_caption = _one(rows.synthetic, 1, name)
        caption = _one(rows.synthetic, 0, name)
        texts = (neg_caption.caption, caption.caption)  # by label, of real rows
        for line in rows.real:
            if line.caption != texts[line.label]:
                raise CaptionError(
                    "a real row and the synthetic row that it is trained with have other captions",
                    row=line.row,
                    found=f"{line.caption!r}, of label {line.label}",
                    expected=f"{texts[line.label]!r}, of the synthetic row of label {1 - line.label}",
                )
        if len(paths := {line.videopath for line in rows.real}) > 1:
            raise SchemaError("two real videos name one synthetic video", found=", ".join(sorted(paths)))
        if neg_caption.diff != caption.diff:
            raise ScoreError(
                "the two rows of a synthetic video do not share alignment_diff",
                found=f"{neg_caption.diff} and {caption.diff} in rows {neg_caption.row} and {caption.row} of {name}",
            )
        videopath = rows.real[0].videopath
        # The release has no column of sources: its names of synthetic videos begin with them.
        clip = parse_clip_name(name)
        cells = dict(rows.real[0].cells) | {
            "videopath": videopath,
            "caption": caption.caption,
            "neg_caption": neg_caption.caption,
            "nle": explained.get((videopath, neg_caption.caption), (None, 0))[0],
        }
        if "source" not in cells and clip is not None:
            cells["source"] = clip.source
        triplet = parse_triplet(
            cells, file=str(self.path), row=neg_caption.row, split=self._split, source=self._source
        )
        return replace(
            triplet,
            syn_video=name,
            # Of a difference that is not known nothing more can be said.
            alignment=None if caption.diff is None else caption.alignment,
            alignment_diff=1.0 if caption.diff is None else caption.diff,
        )

    def _count(self, triplet: Triplet, rows: _Rows) -> None:
        caption = _one(rows.synthetic, 0, str(triplet.syn_video))
        self.report.empty_alignment += caption.alignment is None
        self.report.empty_alignment_diff += caption.diff is None
        self.report.alignment_does_not_fit += triplet.alignment is not None and scores_of(triplet) is None


def scores_of(triplet: Triplet) -> tuple[float, float] | None:
    """f̄(V^s, t^s) and f̄(V^s, t^r) of a triplet of a training CSV, each in [0, 1]; None where they are not known."""
    if triplet.alignment is None or triplet.alignment_diff is None:
        return None
    contrast = triplet.alignment + triplet.alignment_diff
    if not -1e-6 <= contrast <= 1 + 1e-6:
        return None
    return min(max(contrast, 0.0), 1.0), triplet.alignment


def _read_prompt(text: str) -> tuple[str, str, bool]:
    """The caption in a cell, the answer after it (empty for a bare caption), and whether an explanation is asked for."""
    match = _ANSWERED.fullmatch(text.replace("\r\n", "\n"))
    if match is None:
        return read_caption(text), "", False
    name = "entail" if match["entail"] is not None else "explain"
    answer = match[f"answer_{name}"].strip()
    if not answer:
        raise CaptionError("the prompt has no answer", found=f"…{text[-40:]!r}", expected="Yes, No or a text")
    return read_caption(match[name]), answer, name == "explain"


def _one(lines: Iterable[_Line], label: int, name: str) -> _Line:
    """The synthetic row of a label; rows that are equal but for their number are one."""
    found = [line for line in lines if line.label == label]
    if not found or len({(line.caption, line.alignment, line.diff) for line in found}) > 1:
        raise SchemaError(
            f"{len(found)} synthetic rows of label {label} for one video" if found else "a row is missing",
            found=f"{name}, rows {', '.join(str(line.row) for line in found)}" if found else name,
            expected=f"one synthetic row of label {label}: its caption is {'t^s' if label else 't^r'}",
        )
    return found[0]


def _needed(cells: Mapping[str, Any], column: str) -> str:
    text = given_text(cells.get(column), column)
    if text is None:
        raise SchemaError(f"{column} is empty")
    return text


def _number(cells: Mapping[str, Any], column: str, least: float) -> float | None:
    """A score in [least, 1]; None for an empty cell, which `nan` is too."""
    text = given_text(cells.get(column), column)
    if text is None:
        return None
    value = read_number(text, column)
    if not (math.isfinite(value) and least <= value <= 1):
        raise ScoreError(f"{column} is out of range", found=text, expected=f"{least:g} to 1")
    return value


def _generator_of(path: Path, videos: Iterable[_Rows]) -> str | None:
    """The generator that the synthetic rows' folders name, else the file's own name.

    Raises:
        SchemaError: the folders name several.
    """
    counts: Counter[str | None] = Counter(
        generator_in(PurePosixPath(line.videopath.replace("\\", "/")).parts[:-1])
        for rows in videos
        for line in rows.synthetic
    )
    named = sorted(name for name in counts if name is not None)
    if len(named) > 1:
        raise SchemaError(
            "a training CSV is of several generators",
            file=path,
            found=", ".join(f"{counts[name]:,} rows of {name}" for name in named),
            expected="one: alignment_diff is of one generator's videos",
            fix="Build a config of each",
        )
    return named[0] if named else generator_in([path.stem])
