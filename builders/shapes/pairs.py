"""The annotations of the shapes world: triplets drawn from a seed, without any video yet."""

import csv
import io
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synvita_data.errors import SourceError
from synvita_data.schema import MISALIGNMENTS, Triplet

from .grammar import caption, explanation
from .pixels import seed_of
from .scenes import Scene, contrast, draw_scene

SOURCE = "shapes"
# Splits of ten rounds of the seven misalignments, over and over: a small set has all three soon, and a
# pair keeps its split when more pairs are drawn.
_SPLIT_OF_ROUND = ("train", "train", "validation", "train", "test", *["train"] * 5)
# VideoCon's own columns, of the file that carries explanations.
COLUMNS = ("videopath", "source", "caption", "neg_caption", "youtube_key", "split", "misalignment", "nle")


@dataclass(frozen=True, slots=True)
class Pair:
    """A triplet's annotation, and what its real clip and its contrast caption show."""

    triplet: Triplet
    scene: Scene
    contrast: Scene

    @property
    def real_seed(self) -> int:
        """Seed of the real clip's places and background."""
        return seed_of("real clip", self.triplet.video_id)


def draw_pairs(count: int, seed: int = 0, *, file: Path | None = None) -> Iterator[Pair]:
    """The first `count` pairs of the world of `seed`; a larger count only adds to them.

    Pair k has misalignment k modulo seven; of every ten rounds of seven, the third is validation and the
    fifth test. `file` is noted in the triplets, for messages.

    Raises:
        SourceError: a count below 1, or a negative seed.
    """
    if count < 1 or seed < 0:
        raise SourceError(
            "the shapes world needs pairs",
            found=f"pairs={count}, seed={seed}",
            expected="pairs >= 1, seed >= 0",
        )
    for k in range(count):
        misalignment = MISALIGNMENTS[k % len(MISALIGNMENTS)]
        rng = random.Random(seed_of("pair", seed, k))
        scene = draw_scene(misalignment, rng)
        told = contrast(scene, misalignment, rng)
        video_id = f"s{seed}-{k:05d}"
        triplet = Triplet(
            source=SOURCE,
            video_id=video_id,
            videopath=f"{SOURCE}/{video_id}.mp4",
            caption=caption(scene),
            neg_caption=caption(told),
            nle=explanation(scene, told, misalignment),
            split=_SPLIT_OF_ROUND[k // len(MISALIGNMENTS) % len(_SPLIT_OF_ROUND)],
            misalignment=misalignment,
            file=None if file is None else str(file),
            row=k,
        )
        yield Pair(triplet, scene, told)


def triplets_csv(pairs: Iterable[Pair]) -> str:
    """The pairs' annotations as VideoCon writes them (`videocon_llm_feedback.csv`)."""
    return csv_text(COLUMNS, ([getattr(pair.triplet, column) for column in COLUMNS] for pair in pairs))


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file with a header and LF line ends; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
