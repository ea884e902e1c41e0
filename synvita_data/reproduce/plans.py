"""Tables of the paper whose models are not public, as plans: train, then evaluate; the commands, and what they cost.

All figures of cost are computed from the constants below, which are those of docs/scale.md and docs/benchmarks.md
(a test holds them to these pages). Nothing here imports torch, and nothing is run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from .. import __version__
from ..errors import choose
from ..tasks import COLUMNS, TASKS

# --- what things cost (docs/scale.md, docs/benchmarks.md; one H100) ---------------------------------------

TRIPLETS = 55_000  # of the whole training set, inferred from the released checkpoints' steps
KINDS = {"action": 7_894, "flip": 8_962}  # counted; of the other five only the sum is known
SECONDS_A_TRIPLET = 0.56  # LoRA on Video-LLaVA-7B's shape, packed, gradient checkpointing
TRAINING_GIB = 16.5  # the same, one triplet a step
# A plain forward of one text: 18 captions of a video take 88 ms packed, 14.8 times as long by plain batches.
SECONDS_A_TEXT = 0.088 * 14.8 / 18
VIDEOS_GB = 31.3  # of one generator, at the mean size of the three released files
# LoRA of rank 32 on the seven projections of 32 layers of LLaMA-7B, in fp32; a checkpoint adds AdamW's two moments.
ADAPTER_GB = 32 * 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008)) * 4 / 1e9
CHECKPOINTS_KEPT = 2

FAMILIES = ("video-llava", "mplug-owl")
GENERATORS = ("cogvideox", "lavie", "videocrafter2")
# Table -> what it shows, and (row, recipe without its family).
TABLES: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "table1": (
        "real videos alone, and with the synthetic videos of each generator, all trusted",
        (
            ("VideoCon", "videocon"),
            *((f"with {name}", f"plain-{name}") for name in GENERATORS),
        ),
    ),
    "table2": (
        "one kind of misalignment at a time",
        tuple(
            (kind, f"misalignment-{kind}")
            for kind in ("action", "attribute", "count", "flip", "hallucination", "object", "relation")
        ),
    ),
    "table4": (
        "each weighting of synthetic videos",
        tuple((name, f"weight-{name}") for name in ("fixed", "match", "product", "indicator", "difference")),
    ),
    "table5": (
        "SynViTA with the videos of each generator, and of all",
        (
            ("CogVideoX", "synvita"),
            ("LaVie", "synvita-lavie"),
            ("VideoCrafter2", "synvita-videocrafter2"),
            ("all three", "all-generators"),
        ),
    ),
}

# From a recipe's name to what it and those that it extends say.
RecipeValues = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A model to train and evaluate.

    Attributes:
        label: of the row in the paper's table.
        family: `video-llava` or `mplug-owl`.
        recipe: its name.
        config: of the dataset: the generator, or `all`.
        weighted: whether it needs VQAScores.
        triplets: how many are trained on, an epoch; an upper bound where `bound` says why.
        epochs: of the recipe.
        bound: why hours are an upper bound or an average; empty where they are neither.
    """

    label: str
    family: str
    recipe: str
    config: str
    weighted: bool
    triplets: int
    epochs: float
    bound: str

    @property
    def hours(self) -> float:
        """GPU hours of training."""
        return self.triplets * self.epochs * SECONDS_A_TRIPLET / 3600


@dataclass(frozen=True, slots=True)
class Plan:
    """A table as work to do.

    Attributes:
        table: its name.
        about: what it shows.
        rows: models to train.
        tasks: benchmarks that each is evaluated on.
        missing: what has to be had or made before, a sentence each.
    """

    table: str
    about: str
    rows: tuple[PlannedRow, ...]
    tasks: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def texts(self) -> int:
        """Texts that each model scores."""
        return sum(_texts(task) for task in self.tasks)

    @property
    def evaluation_hours(self) -> float:
        """GPU hours of one model's evaluation, at most: every text by a plain forward of its own."""
        return self.texts * SECONDS_A_TEXT / 3600

    @property
    def hours(self) -> float:
        """GPU hours of everything."""
        return sum(row.hours + self.evaluation_hours for row in self.rows)

    @property
    def disk_gb(self) -> float:
        """Adapters, kept checkpoints, and the generators' videos."""
        each = ADAPTER_GB + CHECKPOINTS_KEPT * 3 * ADAPTER_GB
        return len(self.rows) * each + len(self.generators) * VIDEOS_GB

    @property
    def generators(self) -> tuple[str, ...]:
        """Whose videos are needed."""
        used = {row.config for row in self.rows if row.recipe.rpartition("/")[2] != "videocon"}
        return GENERATORS if "all" in used else tuple(name for name in GENERATORS if name in used)


def _texts(task: str) -> int:
    """Texts of a benchmark, as its task expects them; two a pair where it counts pairs."""
    expected = TASKS[task].expected
    if "groups" in expected and TASKS[task].form == "entailment":
        return 2 * expected["groups"].count
    return (expected.get("texts") or expected["rows"]).count


def make_plan(
    table: str, recipe_values: RecipeValues, *, families: Sequence[str] = (), tasks: Sequence[str] = ()
) -> Plan:
    """The plan of a table.

    Args:
        table: of TABLES.
        recipe_values: what a recipe says.
        families: of FAMILIES; all where none is named.
        tasks: benchmarks; all where none is named.

    Raises:
        SynvitaError: an unknown table, family, task or recipe.
    """
    about, recipes = TABLES[choose(table, TABLES, "table")]
    for family in families:
        choose(family, FAMILIES, "row of this table")
    for task in tasks:
        choose(task, COLUMNS, "task")
    rows = tuple(
        _row(label, family, f"{family}/{recipe}", recipe_values(f"{family}/{recipe}"))
        for family in FAMILIES
        if not families or family in families
        for label, recipe in recipes
    )
    plan = Plan(table, about, rows, tuple(task for task in COLUMNS if not tasks or task in tasks), ())
    return Plan(plan.table, plan.about, plan.rows, plan.tasks, _missing(plan))


def _row(label: str, family: str, recipe: str, values: Mapping[str, Any]) -> PlannedRow:
    config, real_only = str(values["config"]), values.get("use_synthetic") is False
    kinds = values.get("misalignments") or ()
    triplets, bound = TRIPLETS, ""
    if kinds:
        others = (TRIPLETS - sum(KINDS.values())) / 5
        triplets = round(sum(KINDS.get(kind, others) for kind in kinds))
        bound = "" if set(kinds) <= set(KINDS) else "the average of five kinds, whose counts are not known"
    if real_only:
        bound = "at most: real videos alone cost less than a triplet"
    if config == "all":
        triplets, bound = TRIPLETS * len(GENERATORS), "at most: real videos of a pair are trained on once"
    if family != "video-llava" and not bound:
        bound = "measured on Video-LLaVA-7B's shape only"
    return PlannedRow(
        label=label,
        family=family,
        recipe=recipe,
        config=config,
        weighted=values.get("weighting") != "fixed" and not real_only,
        triplets=triplets,
        epochs=float(values["num_train_epochs"]),
        bound=bound,
    )


def _missing(plan: Plan) -> tuple[str, ...]:
    found = [
        "the dataset that recipes name, synvita/videocon-syn, is empty: build one from the authors' videos (below) and "
        "VideoCon's triplets",
        "the training CSVs of the paper are not public; nor is it known in which form its videos "
        f"({', '.join(plan.generators) or 'none are needed'}) lie on the Hub",
        "real videos: MSR-VTT, VATEX and TEMPO for training, and those of the benchmarks (docs/videos.md)",
    ]
    if any(row.weighted for row in plan.rows):
        found.append("VQAScores of the synthetic videos, unless the dataset brings them (docs/vqascore.md)")
    if any(row.family == "video-llava" for row in plan.rows):
        found.append(
            "the paper's Video-LLaVA starts from Vicuna with a pretrained projector; recipes start from Video-LLaVA-7B"
        )
    return tuple(found)


def script(plan: Plan) -> str:
    """The plan as a shell script: it stops at the first command that fails, and goes on where it stopped."""
    tasks = " ".join(f"--task {task}" for task in plan.tasks)
    head = [
        "#!/bin/bash",
        f"# {plan.table} of the SynViTA paper: {plan.about}.",
        f"# A plan by synvita-data {__version__}: {len(plan.rows)} models, some {plan.hours:,.0f} H100 hours (computed),",
        f"# {plan.disk_gb:,.0f} GB beside real videos and base models. Nothing of it has been run at full size.",
        *(f"# Missing: {each}." for each in plan.missing),
        "set -euo pipefail",
        ': "${TRIPLETS:?VideoCon\'s training CSV}" "${REAL:?folder of MSR-VTT, VATEX and TEMPO}"',
        ': "${ANNOTATIONS:?folder of the benchmarks\' annotations}" "${BENCHMARKS:?folder of their videos}"',
        "",
        "# Data: once.",
    ]
    lines = [*head, *_data_commands(plan), "", "# Models: once."]
    for family in dict.fromkeys(row.family for row in plan.rows):
        lines += _model_commands(family)
    for row in plan.rows:
        out, note = f"out/{row.recipe.replace('/', '-')}", f" ({row.bound})" if row.bound else ""
        lines += [
            "",
            f"# {row.family}, {row.label}: {row.hours:.1f} H100 hours{note}, then at most {plan.evaluation_hours:.1f} "
            "of evaluation.",
            f'[ -e {quote(out)}/training_run.json ] || synvita train {row.recipe} {_model_of(row.family)} data=data real_root="$REAL" output_dir={quote(out)}',
            f"synvita evaluate {quote(out)} --dtype bfloat16 {tasks} \\",
            f'    --annotations "$ANNOTATIONS" --real-root "$BENCHMARKS" --out results --name {quote(row.recipe)}',
        ]
    lines += ["", "synvita leaderboard results"]
    return "\n".join(lines) + "\n"


def _data_commands(plan: Plan) -> list[str]:
    authors, weighted = "hf:lucazanella/videocon_syn", any(row.weighted for row in plan.rows)
    lines = []
    for name in plan.generators or GENERATORS[:1]:
        given, scores = f'--triplets "$TRIPLETS" --synthetic {authors}', ""
        if weighted:
            models = "--model clip-flant5-xxl --model instructblip-flan-t5-xxl --model llava-1.5-13b"
            lines.append(f"synvita vqascore {given} --config {name} --out scores-{name}.parquet {models}")
            scores = f" --vqascores scores-{name}.parquet"
        of_one = f"--generator {name} --config {name}"
        lines.append(f'synvita build {given} {of_one}{scores} --real-root "$REAL" --out data')
    return lines


def _model_of(family: str) -> str:
    return {
        "video-llava": "model=models/video-llava-7b placeholder_space=original",
        "mplug-owl": "model=models/mplug-owl-llama-7b-video",
    }[family]


def _model_commands(family: str) -> list[str]:
    """How the base models come about, from the same file as table3's."""
    from .expected import read_expected
    from .report import row_commands

    place = {"video-llava": "models/video-llava-7b", "mplug-owl": "models/mplug-owl-llama-7b-video"}[family]
    name = f"{family}-base"
    commands = row_commands(read_expected(), family, (), ())
    # What is converted already is not converted again.
    return [
        f"[ -e {place} ] || {each.replace(f'models/{name}', place)}"
        if each.startswith("synvita convert")
        else each
        for each in commands
    ]
