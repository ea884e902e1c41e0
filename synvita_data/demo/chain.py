"""What `synvita demo` does, step by step: world, scores, dataset, tests, three fine-tunes, comparison, report.

Every step is a function that makes its files and says what is to be remembered; `steps.Course` runs those that are not
done. Nothing here prints: lines go to `say`, tables to `show`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..display import counted
from ..errors import SynvitaError
from ..extras import TRAINING, lacking
from ..schema import MISALIGNMENTS
from ..study import worlds
from ..study.questions import CellName, Recipe, Study, read_questions
from ..study.worlds import CONFIG, FACTS, TrainingWorld
from .report import Arm, Example, Report, Score
from .steps import Step

if TYPE_CHECKING:
    from synvita_data.builders.dataset.run import BuildResult
    from synvita_data.builders.shapes.folder import ShapesFolder
    from synvita_data.builders.shapes.spec import ShapesSpec

    from ..comparison.paired import Difference
    from ..leaderboard.table import Leaderboard

REPORT, RECORD, SCORES, RESULTS = "report.html", "demo.json", "vqascores.parquet", "results"
BEFORE = "before"
SHOWN = (BEFORE, "none", "weight-1", "synvita")  # the study's arms in the order in which they are shown
SCORERS = ("shapes-vqa-a", "shapes-vqa-b", "shapes-vqa-c")
UNSEEN = "unseen"  # the set of concepts that training names in contrast captions only
TASK = "shapes-llm"  # whose sets are the demo's test sets
SETS = "set"  # column of its breakdown by set
EXAMPLES = 2  # of each misalignment
RESAMPLES = 2_000
At = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a demo is.

    Attributes:
        pairs: training triplets.
        test_pairs: of each test set.
        clips: of each caption of the retrieval task; 0 leaves it out.
        steps: optimizer steps; None for those of the study's cell.
        batch: triplets a step; None likewise.
    """

    pairs: int
    test_pairs: int
    clips: int
    steps: int | None = None
    batch: int | None = None


FULL = Size(pairs=280, test_pairs=140, clips=4)
FAST = Size(pairs=70, test_pairs=21, clips=0, steps=12)
# Seconds of each step on two cores, of a full and of a fast demo: for the time left alone.
_SECONDS = {
    "world": (21.0, 6.0),
    "score": (26.0, 10.0),
    "build": (9.0, 4.0),
    "load": (2.0, 1.0),
    "tests": (12.0, 2.0),
    "arms": (140.0, 32.0),
    "compare": (10.0, 3.0),
    "report": (2.0, 1.0),
}


@dataclass(frozen=True)
class Demo:
    """A demo in a folder.

    Attributes:
        out: the folder.
        seed: of world, tests, adapters and batches.
        size: of everything.
        train: whether arms are fine-tuned.
        model: to start from; None for the study's.
        workers: processes that fine-tune.
    """

    out: Path
    seed: int = 0
    size: Size = FULL
    train: bool = True
    model: str | None = None
    workers: int = 2

    @cached_property
    def study(self) -> Study:
        """The study with the demo's sizes."""
        change: dict[str, Any] = {"pairs": self.size.pairs, "test_pairs": self.size.test_pairs}
        for name in ("steps", "batch"):
            if (value := getattr(self.size, name)) is not None:
                change[name] = value
        study = read_questions()
        smaller = study.smaller(**change)
        return smaller if self.model is None else replace(smaller, model=self.model)

    @cached_property
    def recipe(self) -> Recipe:
        """Of the arm `synvita`: the world, too, is its world."""
        return self.study.recipe(self.study.question("main"), CellName("synvita", "default", self.seed))

    @property
    def lacking(self) -> tuple[str, ...]:
        """Packages that fine-tuning needs and that are not installed."""
        return lacking(*TRAINING)

    @property
    def trains(self) -> bool:
        """Whether arms are fine-tuned in the end."""
        return self.train and not self.lacking

    @property
    def made_of(self) -> dict[str, Any]:
        """All that the results depend on."""
        return {
            "version": __version__,
            "seed": self.seed,
            **asdict(self.size),
            "model": self.study.model if self.trains else None,
            "recipe": self.recipe.record(),
        }

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is done, in order."""
        out, titles = self.out, _titles(self)
        leaves = {
            "world": (out / "world" / "triplets.csv", out / "world" / "real", out / "world" / "synthetic"),
            "score": (out / SCORES,),
            "build": (out / "dataset" / "build.json",),
            "load": (out / FACTS,),
            "tests": (out / "benchmark" / f"{TASK}.yaml",),
            "arms": (out / RESULTS,),
            "report": (out / REPORT,),
        }
        return tuple(
            Step(name, title, _SECONDS[name][self.size.steps is not None], leaves.get(name, ()))
            for name, title in titles.items()
        )


def _titles(demo: Demo) -> dict[str, str]:
    triplets = counted(demo.size.pairs, "triplets")
    titles = {
        "world": f"Film {triplets}: real clips, and synthetic ones of their contrast captions",
        "score": "Score the synthetic clips with three VQA models",
        "build": "Weigh, mask and package",
        "load": "Load and look",
    }
    if demo.lacking:  # the world's own table has the same numbers
        titles.pop("score", None)
    if demo.trains:
        titles |= {
            "tests": "Film the tests",
            "arms": "Fine-tune three arms, and evaluate them and the model before",
            "compare": "Compare",
        }
    return titles | {"report": "Write the report"}


def check_folder(demo: Demo) -> None:
    """Refuse a folder that holds anything else than a demo: its files would be taken for the demo's.

    Raises:
        SynvitaError: it does, or it cannot be written.
    """
    if (demo.out / RECORD).is_file():
        return
    if demo.out.exists() and (not demo.out.is_dir() or any(demo.out.iterdir())):
        raise SynvitaError(
            "the folder holds something else than a demo of this version",
            file=demo.out,
            expected=f"a new folder, or one with {RECORD}",
            fix="Name another --out, or remove the folder",
        )
    try:
        demo.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynvitaError("--out cannot be written", file=demo.out, found=error.strerror) from error


# --- making -----------------------------------------------------------------------------------------


def make_world(demo: Demo) -> "ShapesFolder":
    """Triplets, real clips, synthetic clips and what each of them shows, in `out/world`."""
    from synvita_data.builders.shapes import make_world as make

    return make(demo.out / "world", world_spec(demo))


def world_spec(demo: Demo) -> "ShapesSpec":
    """The world of the demo."""
    return worlds.spec_of(demo.recipe.record(), demo.size.pairs, demo.seed)


def spec_text(demo: Demo) -> str:
    """The world as `ShapesSpec.parse` reads it."""
    return worlds.spec_text(demo.recipe.record(), demo.size.pairs, demo.seed)


def world_of(demo: Demo) -> "ShapesFolder":
    """The folder that `make_world` has made."""
    from synvita_data.builders.shapes import ShapesFolder

    return ShapesFolder(demo.out / "world", demo.size.pairs, 1)


def score(demo: Demo, at: At) -> int:
    """VQAScores of all synthetic clips by the package's job; how many rows the table has.

    Raises:
        SynvitaError: a clip could not be scored.
    """
    from synvita_data.builders.triplets import TripletReader
    from synvita_data.builders.vqascore import find_model, score_videos

    from ..jobs import JobProgress

    world = world_of(demo)
    models = [find_model(f"{name}@{demo.recipe.version}") for name in SCORERS]
    finished = dict.fromkeys((f"scoring with {model.label}" for model in models), 0.0)

    def follow(progress: JobProgress) -> None:
        finished[progress.title] = progress.done / max(progress.total, 1)
        at(sum(finished.values()) / len(finished))

    report = score_videos(
        list(TripletReader(world.triplets)),
        f"folder:{world.synthetic}",
        models,
        demo.out / SCORES,
        on_progress=follow,
    )
    if not report.complete or report.exit_status:
        raise SynvitaError("not all clips could be scored", file=demo.out, found="; ".join(report.lines()))
    return report.written


def build(demo: Demo) -> "BuildResult":
    """The dataset, with weights and masks."""
    world = world_of(demo)
    return worlds.build_world(
        world, world.vqascores if demo.lacking else demo.out / SCORES, demo.out / "dataset"
    )


def training_world(demo: Demo) -> TrainingWorld:
    """The demo's folder as a world of the study."""
    return TrainingWorld(demo.out.resolve())  # a relative name could be a repository of the Hub as well


def load(demo: Demo) -> Any:
    """The rows of the dataset as they are trained on."""
    import datasets

    datasets.disable_progress_bars()
    return training_world(demo).dataset()


def write_facts(demo: Demo, rows: Any) -> None:
    """Write what the world knows of the rows, as the study's cells and the report read it."""
    worlds.write_facts(world_of(demo), rows, demo.out)


def make_tests(demo: Demo) -> dict[str, Path]:
    """The tests' clips and annotations in `out/benchmark`: task -> its declaration."""
    from synvita_data.builders.shapes.benchmark import write_benchmark
    from synvita_data.builders.shapes.splits import Split

    return write_benchmark(
        demo.out / "benchmark",
        split=Split(demo.recipe.unseen, demo.recipe.share),
        seed=demo.seed,
        pairs=demo.size.test_pairs,
        clips=max(demo.size.clips, 1),
        tasks=tasks_of(demo),
    )


def tasks_of(demo: Demo) -> tuple[str, ...]:
    """Names of the tasks that arms are evaluated on."""
    return (TASK, *(("shapes-temporal",) if demo.size.clips else ()))


# --- what came of it --------------------------------------------------------------------------------


def result_of(demo: Demo, title: str, task: str) -> Path:
    """The result file of an arm on a task.

    Raises:
        SynvitaError: there is none.
    """
    from ..evaluation.results import read_result

    for path in sorted((demo.out / RESULTS).glob(f"*/{task}.json")):
        if read_result(path).model == title:
            return path
    raise SynvitaError("an arm has no result", file=demo.out / RESULTS, found=f"{title} on {task}")


def compare(demo: Demo, declared: Mapping[str, Path], at: At) -> tuple[list[Arm], dict[str, str]]:
    """Every arm beside the model before, and the titles of the test sets.

    Args:
        demo: whose arms are evaluated.
        declared: task -> its declaration.
        at: takes how much is done.
    """
    from ..annotations import read_annotations
    from ..comparison.compare import compare_results
    from ..evaluation.scored import read_scored
    from ..tasks.catalogue import get_task

    titles = arm_titles(demo)
    scores: dict[str, dict[str, Score]] = {name: {} for name in titles}
    concepts: dict[str, dict[str, tuple[int, int]]] = {name: {} for name in titles}
    sets: dict[str, str] = {}
    for place, (task_name, path) in enumerate(declared.items()):
        task = get_task(str(path))
        rows = read_annotations(task, path.parent)
        before = read_scored(result_of(demo, titles[BEFORE], task_name))
        for k, (name, title) in enumerate(titles.items()):
            own = before if name == BEFORE else read_scored(result_of(demo, title, task_name))
            found = None
            if name != BEFORE:
                found = compare_results(own, before, task, rows, resamples=RESAMPLES, seed=demo.seed)
            at((place + (k + 1) / len(titles)) / len(declared))
            if task_name == TASK:
                parts = own.result.record["metrics"]["groups"]
                for outcome, metrics in parts[SETS].items():
                    change = None if found is None else found.breakdown.get(SETS, {}).get(outcome)
                    scores[name][outcome] = _score(
                        metrics[found.metric if found else task.main_score], change
                    )
                    sets[outcome] = demo.study.outcomes.get(outcome, outcome)
                by_concept = parts.get("concept", {})
                concepts[name] = {
                    word: _counted(by_concept[word]["paired_accuracy"])
                    for word in demo.recipe.unseen
                    if word in by_concept
                }
            else:
                scores[name][task_name] = _score(own.result.main_score, None if found is None else found.main)
                sets[task_name] = task.title
    arms = [Arm(name, title, scores[name], concepts[name]) for name, title in titles.items()]
    order = [*demo.study.outcomes, *sets]
    return arms, dict(sorted(sets.items(), key=lambda item: order.index(item[0])))


def arm_titles(demo: Demo) -> dict[str, str]:
    """Arm -> its title, in the order in which they are shown."""
    return {name: demo.study.arms[name].title for name in SHOWN}


def arm_of(record: Mapping[str, Any], facts: Mapping[str, Any]) -> Arm:
    """An arm from its record, with what its worker said of it."""
    scores = {name: Score(**own) for name, own in record["scores"].items()}
    concepts = {word: (own[0], own[1]) for word, own in record["concepts"].items()}
    told = {}
    if facts.get("triplets"):
        told = {
            "triplets": f"{facts['triplets']:,}",
            "last loss": f"{facts['loss']:.3f}",
            "fine-tuned in": f"{facts['seconds']['train']:.0f} s",
        }
        if facts.get("weight") is not None:
            told["mean weight of synthetic clips"] = f"{facts['weight']:.3f}"
    return Arm(record["name"], record["title"], scores, concepts, told)


def _score(metric: Mapping[str, Any], change: "Difference | None") -> Score:
    own = Score(metric["value"], metric["low"], metric["high"], metric["k"])
    if change is None:
        return own
    return replace(own, change=change.difference, change_low=change.low, change_high=change.high, p=change.p)


def _counted(metric: Mapping[str, Any]) -> tuple[int, int]:
    """How many of how many pairs are in the right order."""
    return round(metric["value"] * metric["k"] / 100), metric["k"]


def leaderboard(demo: Demo) -> "Leaderboard":
    """The leaderboard of the demo's results, of their benchmarks alone."""
    from ..leaderboard.table import make_leaderboard, read_results

    board = make_leaderboard(read_results(demo.out / RESULTS), published=False)
    # Benchmarks of the paper have a column elsewhere; here nothing stands in it.
    filled = {task for row in board.rows for task in row.cells}
    return replace(board, columns=tuple(column for column in board.columns if column.task in filled))


# --- the report -------------------------------------------------------------------------------------


def make_report(
    demo: Demo,
    *,
    arms: Sequence[Arm] = (),
    sets: Mapping[str, str] | None = None,
    steps: Sequence[tuple[str, str, float]] = (),
    missing: str | None = None,
) -> Report:
    """Everything on the page.

    Args:
        demo: that is done.
        arms, sets, missing: as of `Report`.
        steps: title, command and seconds of each.
    """
    from ..dataset.built import local_config
    from ..dataset.inspection import figure_name, inspect_dataset

    rows = load(demo)
    inspection = inspect_dataset(local_config(demo.out / "dataset", CONFIG, ["train"]), CONFIG)
    figure = demo.out / "dataset" / "figures" / f"{figure_name(CONFIG)}.svg"
    truths = _truths(demo)
    facts = training_world(demo).facts()
    weights: dict[bool, list[float]] = {True: [], False: []}
    for known in facts:
        weights[known["right"]].append(known["weight"])
    recipe, sizes = demo.recipe, demo.size
    found = {
        "Model": f"{demo.study.model}, a Video-LLaVA that knows this world",
        "Training": f"{counted(sizes.pairs, 'triplets')}, {recipe.steps} steps of {recipe.batch}, "
        f"adapters of rank {recipe.rank}, seed {demo.seed}",
        "Unseen": f"{', '.join(recipe.unseen)}: in training in contrast captions only",
        "Made by": f"synvita-data {__version__}",
    }
    if not arms:
        found = {name: found[name] for name in ("Unseen", "Made by")}
    return Report(
        facts=found,
        sets=sets or {},
        metric={name: "mAP" if name.endswith("temporal") else "AUC" for name in sets or ()},
        arms=tuple(arms),
        examples=tuple(_examples(demo, rows, truths)),
        figure=figure.read_bytes() if figure.is_file() else None,
        differences={each.name: each.difference for each in inspection.summaries[:-1] if each.scored},
        wrong=(len(weights[False]), len(facts)),
        weights=(_mean(weights[True]), _mean(weights[False])),
        steps=tuple(steps),
        missing=missing,
    )


def _truths(demo: Demo) -> dict[str, dict[str, Any]]:
    """Pair id -> what its synthetic clip shows."""
    lines = world_of(demo).truth.read_text(encoding="utf-8").splitlines()
    return {record["pair_id"]: record for record in map(json.loads, lines)}


def _examples(demo: Demo, rows: Any, truths: Mapping[str, Mapping[str, Any]]) -> Iterator[Example]:
    """Triplets to look at."""
    from synvita_data.builders.shapes import parse
    from synvita_data.builders.shapes.splits import Split

    from .clips import choose_rows, example

    split = Split(demo.recipe.unseen, demo.recipe.share)
    known: list[dict[str, Any]] = [
        {
            "misalignment": MISALIGNMENTS[row["misalignment"]],
            "wrong": not truths[row["pair_id"]]["right"],
            "unseen": split.named(parse(row["neg_caption"])),
        }
        for row in rows.select_columns(["misalignment", "pair_id", "neg_caption"])
    ]
    for place in choose_rows(known, EXAMPLES):
        row, about = rows[place], known[place]
        truth = truths[row["pair_id"]]
        yield example(
            row,
            misalignment=about["misalignment"],
            real=row["real_video"],
            synthetic=row["synthetic_video"],
            right=truth["right"],
            faults=truth["faults"],
            shown=truth["shown"],
            unseen=about["unseen"],
        )


def write_report(demo: Demo, report: Report) -> None:
    """The page, whole or not at all."""
    from ..files import atomic_path
    from .page import page

    with atomic_path(demo.out / REPORT) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(page(report))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
