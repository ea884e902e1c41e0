"""What cells share of a world: its dataset, built as any dataset is, and its test sets. Each part is made once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..builders.dataset import BuildOptions, build_dataset
from ..builders.shapes import ShapesFolder, ShapesSpec, draw_world, make_world, render
from ..builders.shapes.benchmark import write_benchmark
from ..builders.shapes.pixels import seed_of
from ..builders.shapes.splits import Split
from ..files import new_folder, write_atomic
from ..jobs import work_key
from ..schema import MISALIGNMENTS
from ..tasks.catalogue import get_task
from ..video import encode_mp4
from .questions import Recipe

if TYPE_CHECKING:
    import datasets

    from ..builders.dataset import BuildResult
    from ..tasks import Task

CONFIG = "shapes"  # of the dataset
FACTS = "facts.jsonl"  # what the world knows of its rows
REVISION = 1  # of how parts are made: raise it when the same settings would give others
# What the parts of a world depend on.
_TRAINING = ("version", "pairs", "unseen", "share", "noise", "reverted", "shift")
_TESTS = ("version", "test_pairs", "unseen", "share")
GREY = 128
# Of the miniature benchmark. Its other wording is left out: the model does not know those words.
TASKS = ("shapes-llm", "shapes-temporal")
CLIPS_A_CAPTION = 4  # of temporal retrieval


@dataclass(frozen=True, slots=True)
class WorldPart:
    """The dataset (`training`) or the test sets (`tests`) of a world; plain data.

    Attributes:
        kind: which.
        settings: fields of `Recipe` that it depends on.
        seed: of the world.
    """

    kind: str
    settings: Mapping[str, Any]
    seed: int

    @property
    def key(self) -> str:
        """By all that it depends on."""
        return work_key(part=self.kind, made=REVISION, seed=self.seed, **self.settings)

    def folder(self, root: Path) -> Path:
        """Where it lies: below the store of the parts, named by its key."""
        import hashlib

        digest = hashlib.sha256(self.key.encode()).hexdigest()
        return root / "folders" / f"{self.kind}-{self.seed}-{digest[:12]}"


def make(part: WorldPart, root: Path) -> None:
    """Make a part, whole or not at all; one that is there stays.

    Raises:
        SourceError: an impossible split, or noise out of range.
    """
    folder = part.folder(root)
    if folder.is_dir():
        return
    with new_folder(folder) as temporary:
        {"training": _make_training, "tests": _make_tests}[part.kind](part, temporary)


def spec_of(settings: Mapping[str, Any], pairs: int, seed: int, only: str = "train") -> ShapesSpec:
    """The world of a recipe's fields."""
    return ShapesSpec.parse(spec_text(settings, pairs, seed, only))


def spec_text(settings: Mapping[str, Any], pairs: int, seed: int, only: str = "train") -> str:
    """The world of a recipe's fields, as `ShapesSpec.parse` reads it."""
    options: dict[str, Any] = {"version": settings["version"], "pairs": pairs, "seed": seed, "only": only}
    options |= {"unseen": "+".join(settings["unseen"]), "share": settings["share"]}
    for name in ("noise", "reverted", "shift"):
        if name in settings:
            options[name] = settings[name]
    shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in options.items()}
    return ",".join(f"{name}={value}" for name, value in shown.items())


def _settings(recipe: Recipe, names: tuple[str, ...]) -> dict[str, Any]:
    record = recipe.record()
    return {name: record[name] for name in names}


@dataclass(frozen=True, slots=True)
class TrainingWorld:
    """A dataset to train on, with what the world knows of its clips.

    Attributes:
        folder: `world` (`ShapesFolder`), `dataset`, `contrast-real` (real clips of the contrast captions), `grey.mp4`.
    """

    folder: Path

    @classmethod
    def part(cls, recipe: Recipe, seed: int) -> WorldPart:
        """The part that a cell trains on."""
        settings = _settings(recipe, _TRAINING)
        if recipe.clips in ("none", "contrast-real", "grey"):  # the same pairs whatever the generator does
            settings |= {"noise": "1", "reverted": 0.0, "shift": 1.0}
        return WorldPart("training", settings, seed)

    def dataset(self) -> "datasets.Dataset":
        """Its rows as they are trained on, with the real clips."""
        from ..dataset.load import load_triplets

        return load_triplets(
            self.folder / "dataset",
            CONFIG,
            split="train",
            real_root=self.folder / "world" / "real",
            cache_dir=self.folder / "arrow",
        )

    def rows(self, clips: str) -> Any:
        """The rows of the dataset, with other clips in the place of the generator's where they are asked for.

        Args:
            clips: one of `questions.CLIPS`.
        """
        dataset = self.dataset()
        if clips in ("none", "generated"):
            return dataset
        rows = [dict(row) for row in dataset]
        videos = [row["synthetic_video"] for row in rows]
        for place, row in enumerate(rows):
            if clips == "grey":
                row["synthetic_video"] = {"bytes": None, "path": str(self.folder / "grey.mp4")}
            elif clips == "contrast-real":
                path = self.folder / "contrast-real" / f"{place:05d}.mp4"
                row["synthetic_video"] = {"bytes": None, "path": str(path)}
            else:  # shuffled: half the rows on, so that it is never a row's own
                row["synthetic_video"] = videos[(place + len(rows) // 2) % len(rows)]
        return rows

    def facts(self) -> list[dict[str, Any]]:
        """A record a row: `id`, `misalignment`, `weight` (ω of Eq. 4), `difference` of VQAScores, `right`."""
        lines = (self.folder / FACTS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def build_world(world: ShapesFolder, vqascores: Path, out: Path) -> "BuildResult":
    """The dataset of a world.

    Args:
        world: with its clips.
        vqascores: the world's own score table, or another one of its clips.
        out: folder of the dataset.
    """
    return build_dataset(
        BuildOptions(
            triplets=world.triplets,
            vqascores=vqascores,
            synthetic=f"folder:{world.synthetic}",
            real_root=world.real,
            config=CONFIG,
            out=out,
        )
    )


def _make_training(part: WorldPart, folder: Path) -> None:
    spec = spec_of(part.settings, part.settings["pairs"], part.seed)
    world = make_world(folder / "world", spec)
    build_world(world, world.vqascores, folder / "dataset")
    # Clips that are not the generator's: the contrast captions filmed as real clips are, and one that shows nothing.
    real_style, synthetic_style = spec.styles()
    for place, pair in enumerate(draw_world(spec)):
        seed = seed_of("contrast, real", pair.triplet.video_id)
        pixels = render(pair.contrast, seed, real_style, spec.geometry)
        encode_mp4(pixels, real_style.fps, folder / "contrast-real" / f"{place:05d}.mp4")
    grey = render(pair.contrast, 0, synthetic_style, spec.geometry)
    grey[:] = GREY
    encode_mp4(grey, synthetic_style.fps, folder / "grey.mp4")
    write_facts(world, TrainingWorld(folder).dataset(), folder)


def write_facts(world: ShapesFolder, rows: Any, folder: Path) -> None:
    """What the world knows of a dataset's rows, beside what the dataset says: for `TrainingWorld.facts`.

    Args:
        world: that the dataset was built from.
        rows: of the dataset.
        folder: of the `TrainingWorld`.
    """
    truths = [json.loads(line) for line in world.truth.read_text(encoding="utf-8").splitlines()]
    right = {own["pair_id"]: own["right"] for own in truths}
    columns = rows.select_columns(["id", "pair_id", "misalignment", "weight", "vqascores"])
    lines = []
    for row in columns:
        scores = row["vqascores"]
        difference = sum(own["neg_caption_score"] - own["caption_score"] for own in scores) / len(scores)
        kind = MISALIGNMENTS[row["misalignment"]]
        known = {"id": row["id"], "misalignment": kind, "weight": row["weight"]}
        lines.append(json.dumps(known | {"difference": difference, "right": right[row["pair_id"]]}) + "\n")
    write_atomic(folder / FACTS, "".join(lines))


@dataclass(frozen=True, slots=True)
class TestSets:
    """The miniature benchmark of a world.

    Attributes:
        folder: declarations, annotations and `clips`.
    """

    folder: Path

    @classmethod
    def part(cls, recipe: Recipe, seed: int) -> WorldPart:
        """The part that a cell is evaluated on."""
        return WorldPart("tests", _settings(recipe, _TESTS), seed)

    def tasks(self) -> "list[Task]":
        """The tasks whose scores are the outcomes."""
        return [get_task(self.folder / f"{name}.yaml") for name in TASKS]

    @property
    def videos(self) -> Path:
        """Root of their clips."""
        return self.folder / "clips"


def _make_tests(part: WorldPart, folder: Path) -> None:
    settings = part.settings
    write_benchmark(
        folder,
        split=Split(tuple(settings["unseen"]), settings["share"]),
        seed=part.seed,
        pairs=settings["test_pairs"],
        clips=CLIPS_A_CAPTION,
        tasks=TASKS,
    )
