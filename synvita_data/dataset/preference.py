"""Rows as preference data: a video, the entailment question about one of its captions, a chosen and a rejected answer.

A row has a real video V^r of its caption t^r and, mostly, a synthetic video V^s of its contrast caption t^s. It gives
samples of two kinds:

- `answer`: one video and one caption, Yes against No. V^r with t^r: Yes is chosen; V^r with t^s: No; and the mirror
  images, V^s with t^s: Yes; V^s with t^r: No.
- `video`: one caption and the answer Yes about two videos: for t^r that about V^r is chosen and that about V^s is
  rejected, for t^s the other way round. Only programs whose format has a video for each answer take these.

Paths of real videos stand in samples and nowhere else: nothing of this is ever published.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SchemaError, choose
from ..schema import MISALIGNMENTS
from .local_videos import LocalVideo

if TYPE_CHECKING:
    import datasets

YES, NO = "Yes", "No"
RECORD = "export.json"  # what an export says of itself
INCLUDED = ("real", "synthetic", "both")
# What programs put a picture, a video or the like in place of, wherever in a text it stands.
_PLACEHOLDER = re.compile(
    r"<\|?/?(?:image|video|audio|bbox|ref-object|cot-process|start-image|vision_)[^<>]*>", re.I
)

# Why a row gives fewer samples; counted, and shown to the user.
NOT_FOUND = "the real video was not found"
EMBEDDED = "the real video is held in the table, and real videos are never copied"
PART = "the real video is a part of a longer file, which the format cannot say"
NO_SYNTHETIC = "there is no synthetic video"
LOW_WEIGHT = "the synthetic video's weight is 0, or below --min-weight"
PLACEHOLDER = "a caption holds a placeholder such as <video>"


@dataclass(frozen=True, slots=True)
class Clip:
    """A video of a sample.

    Attributes:
        path: of the file; a relative one is below the folder that is exported into.
        start, end: seconds of the file that the sample is about; None for all of it.
    """

    path: str
    start: float | None = None
    end: float | None = None

    @property
    def whole(self) -> bool:
        return self.start is None and self.end is None


@dataclass(frozen=True, slots=True)
class Sample:
    """One preference: of two answers about a caption the first is better.

    Attributes:
        id: of the row, and which of its samples this is: `<row id>:real:caption`, `…:synthetic:neg_caption`,
            `…:video:caption`.
        kind: `answer` (one video, two answers) or `video` (two videos, the answer Yes about each).
        caption: that is asked about.
        chosen, rejected: the better and the worse answer.
        chosen_clip, rejected_clip: the video that each is about.
        misalignment: how the contrast caption differs; None where unknown.
        weight: ω of the synthetic video, 1 for the real one alone; None where the row has none.
    """

    id: str
    kind: str
    caption: str
    chosen: str
    rejected: str
    chosen_clip: Clip
    rejected_clip: Clip
    misalignment: str | None
    weight: float | None


@dataclass
class Samples:
    """The samples of rows, and what was left out of them.

    Args:
        include: `real`, `synthetic` or `both` (see `INCLUDED`): which videos are asked about.
        pairs_of_videos: make samples of the kind `video` too, of rows with both videos.
        parts: take real videos that are a part of a longer file; else they are left out.
        min_weight: leave out synthetic videos whose weight is lower or unknown; None keeps those of unknown weight.
            Those of weight 0, which are not trained on, are always left out: no such program weights its loss.
        store: given the bytes of a synthetic video and its suffix, keeps them and says the path for a `Clip`.
    """

    include: str
    pairs_of_videos: bool
    parts: bool
    min_weight: float | None
    store: Callable[[bytes, str], str]

    def __post_init__(self) -> None:
        self.left_out: Counter[str] = Counter()  # reason -> rows

    def of(self, dataset: "datasets.Dataset") -> Iterator[Sample]:
        """The samples of each row in turn; those of a real video alone once a pair, whose rows repeat it.

        Args:
            dataset: a split of `load_triplets`.

        Raises:
            SynvitaError: a synthetic video that a row refers to cannot be found or fetched.
        """
        pairs: set[str] = set()
        for number in range(len(dataset)):
            row = dataset[number]
            if any(_PLACEHOLDER.search(row[name]) for name in ("caption", "neg_caption")):
                self.left_out[PLACEHOLDER] += 1
                continue
            real = self._real(row) if self.include != "synthetic" else None
            synthetic = self._synthetic(row) if self.include != "real" else None
            first = row["pair_id"] not in pairs
            pairs.add(row["pair_id"])
            yield from self._answers(row, real if first else None, synthetic)
            if self.pairs_of_videos and real is not None and synthetic is not None:
                yield _sample(row, "video:caption", (YES, YES), (real, synthetic), row["weight"])
                yield _sample(row, "video:neg_caption", (YES, YES), (synthetic, real), row["weight"])

    def _answers(self, row: Mapping[str, Any], real: Clip | None, synthetic: Clip | None) -> Iterator[Sample]:
        for name, clip, own, weight in (
            ("real", real, "caption", 1.0),
            ("synthetic", synthetic, "neg_caption", row["weight"]),
        ):
            for column in ("caption", "neg_caption"):
                answers = (YES, NO) if column == own else (NO, YES)
                if clip is not None:
                    yield _sample(row, f"{name}:{column}", answers, (clip, clip), weight)

    def _real(self, row: Mapping[str, Any]) -> Clip | None:
        """The real video's file and seconds; None, counted, where a sample cannot have it."""
        cell = row["real_video"] or {}
        if cell.get("bytes") is not None:
            self.left_out[EMBEDDED] += 1
            return None
        if not isinstance(cell.get("path"), LocalVideo):
            self.left_out[NOT_FOUND] += 1
            return None
        clip = Clip(str(Path(cell["path"]).absolute()), row["start"], row["end"])
        if not (clip.whole or self.parts):
            self.left_out[PART] += 1
            return None
        return clip

    def _synthetic(self, row: Mapping[str, Any]) -> Clip | None:
        """The synthetic video's file, written if the row holds its bytes; None, counted, where there is none."""
        weight = row["weight"]
        low = weight == 0 or (self.min_weight is not None and (weight is None or weight < self.min_weight))
        if low:
            self.left_out[LOW_WEIGHT] += 1
            return None
        cell = row["synthetic_video"] or {}
        if cell.get("bytes") is not None:
            return Clip(self.store(cell["bytes"], Path(cell.get("path") or "").suffix))
        if isinstance(cell.get("path"), LocalVideo):
            return Clip(str(Path(cell["path"]).absolute()))
        self.left_out[NO_SYNTHETIC] += 1
        return None


def _sample(
    row: Mapping[str, Any],
    name: str,
    answers: tuple[str, str],
    clips: tuple[Clip, Clip],
    weight: float | None,
) -> Sample:
    kind = "video" if name.startswith("video:") else "answer"
    misalignment = row["misalignment"]
    return Sample(
        id=f"{row['id']}:{name}",
        kind=kind,
        caption=row[name.rpartition(":")[2]],
        chosen=answers[0],
        rejected=answers[1],
        chosen_clip=clips[0],
        rejected_clip=clips[1],
        misalignment=None if misalignment is None or misalignment < 0 else MISALIGNMENTS[misalignment],
        weight=weight,
    )


class VideoStore:
    """Synthetic videos as files below a folder, named by their SHA-256, so that equal ones are one file.

    Args:
        folder: where `videos/` is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: set[str] = set()

    def __call__(self, content: bytes, suffix: str) -> str:
        suffix = suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else ".mp4"
        name = f"videos/{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
        if name not in self.written:
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            self.written.add(name)
        return name


def check_included(include: str | None, has_root: bool) -> str:
    """Which videos are asked about: what the user named, or all that can be found.

    Raises:
        SchemaError: an unknown kind, or real videos are asked for without the folder that they are in.
    """
    if include is None:
        return "both" if has_root else "synthetic"
    choose(include, INCLUDED, "kind of videos to include", error=SchemaError)
    if include != "synthetic" and not has_root:
        raise SchemaError(
            "samples of real videos need the folder that real videos are in",
            found=f"--include {include} without --real-root",
            expected="--real-root DIR, or --include synthetic",
        )
    return include
