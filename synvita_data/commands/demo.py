"""`synvita demo`: the whole method from nothing to a report, on the shapes world."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..demo.chain import Demo
    from ..demo.report import Arm
    from ..demo.steps import Course
    from ..display import Terminal


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for everything that the demo makes.")
    ] = Path("demo"),
    fast: Annotated[
        bool, typer.Option("--fast", help="A small demo in less than a minute; its numbers say little.")
    ] = False,
    pairs: Annotated[
        int | None,
        typer.Option(help="Number of training triplets. Default: 280, or 70 with --fast.", min=70),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another world and other fine-tunes.", min=0)] = 0,
    fine_tune: Annotated[
        bool,
        typer.Option("--train/--no-train", help="Fine-tune three arms, or stop at the loaded dataset."),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Video LLM to start from. Default: shapes-video-llava-early."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of processes that fine-tune.", min=1)] = 2,
) -> None:
    """Run the whole method on clips of moving shapes and write a report as one page. Needs no download and no GPU.

    Films triplets, scores, weighs and packages them, loads them, fine-tunes a small Video LLM in three ways and compares
    them. Run it again after a kill and it goes on where it was.
    """
    from ..demo import chain
    from ..demo.steps import Course
    from ..display import Terminal
    from ..extras import install_line
    from ..progress import Progress, duration

    size = chain.FAST if fast else chain.FULL
    if pairs is not None:
        size = replace(size, pairs=pairs)
    planned = chain.Demo(out.resolve(), seed, size, fine_tune, model, workers)
    terminal = Terminal()
    missing = None
    if not fine_tune:
        missing = "No arm was fine-tuned: --no-train."
    elif planned.lacking:
        missing = (
            f"Fine-tuning needs {', '.join(planned.lacking)}: {install_line('train')}. "
            "Everything else is here."
        )
        terminal.line(missing, style="yellow")
    chain.check_folder(planned)

    def heading(title: str, note: str) -> None:
        terminal.line()
        terminal.line(("bold", title), ("dim", f"   ({note})"))

    course = Course(
        planned.out / chain.RECORD,
        planned.made_of,
        planned.steps,
        say=heading,
        progress=lambda: Progress("demo"),
    )
    run_steps(planned, course, terminal, out, missing)
    terminal.line()
    terminal.line(("bold", "Report"), f"  {out / chain.REPORT}, one file for any browser")
    terminal.line(f"Made in {duration(sum(done.seconds for done in course.done.values()))}.", style="dim")


def run_steps(
    planned: "Demo", course: "Course", terminal: "Terminal", out: Path, missing: str | None
) -> None:
    """All steps, each with what is to be seen of it; `out` is the folder as the user wrote it."""
    from ..demo import chain

    dataset, commands = out / "dataset", _commands(planned, out)

    def show(name: str) -> None:
        if name in commands:
            terminal.line(f"   {commands[name]}", style="dim")

    # Captions and clips.
    def film(at: Callable[[float], None]) -> Mapping[str, Any]:
        chain.make_world(planned)
        return {}

    course.run("world", film)
    show("world")
    # Scores, weights, dataset.
    if not planned.lacking:
        scored = course.run("score", lambda at: {"scores": chain.score(planned, at)})
        show("score")
        terminal.line(
            f"{counted(scored.facts['scores'], 'scores')}: a frame, a caption pair and a model each"
        )
    from .build import print_result

    results: list[Any] = []

    def package(at: Callable[[float], None]) -> Mapping[str, Any]:
        results.append(chain.build(planned))
        return {}

    course.run("build", package)
    show("build")
    if results:
        print_result(terminal, results[0], course.done["build"].seconds)
    rows: list[Any] = []

    def load(at: Callable[[float], None]) -> Mapping[str, Any]:
        rows.append(chain.load(planned))
        chain.write_facts(planned, rows[0])
        return {}

    course.run("load", load)
    show("load")
    _look(terminal, planned, dataset, rows[0] if rows else chain.load(planned))

    # Fine-tunes.
    arms: Sequence[Arm] = ()
    sets: Mapping[str, str] = {}
    if planned.trains:
        arms, sets = _train(planned, course, terminal, show)

    # The page.
    def write(at: Callable[[float], None]) -> Mapping[str, Any]:
        # The page may be sent to others: it names no place on this machine.
        by_hand = _commands(planned, Path("demo"))
        steps = [
            (step.title, by_hand.get(step.name, ""), course.done[step.name].seconds)
            for step in planned.steps
            if step.name in course.done
        ]
        report = chain.make_report(planned, arms=arms, sets=sets, steps=steps, missing=missing)
        chain.write_report(planned, report)
        return {}

    course.run("report", write)


def _commands(planned: "Demo", out: Path) -> dict[str, str]:
    """Step -> what does it by hand, with the demo in `out`."""
    from shlex import quote

    from ..demo import chain

    world, tests, results = out / "world", out / "benchmark", out / chain.RESULTS
    scores = world / "vqascores.csv" if planned.lacking else out / chain.SCORES
    clips = quote(f"folder:{world / 'synthetic'}")
    inputs = f"--triplets {quote(str(world / 'triplets.csv'))} --synthetic {clips}"
    models = " ".join(f"--model {name}@{planned.recipe.version}" for name in chain.SCORERS)
    title = chain.arm_titles(planned)["synvita"]
    return {
        "world": f'make_world("{world}", ShapesSpec.parse("{chain.spec_text(planned)}"))',
        "score": f"synvita vqascore {inputs} {models} --out {quote(str(scores))}",
        "build": f"synvita build {inputs} --vqascores {quote(str(scores))} --real-root {quote(str(world / 'real'))} "
        f"--config {chain.CONFIG} --out {quote(str(out / 'dataset'))}",
        "load": f'load_triplets("{out / "dataset"}", real_root="{world / "real"}")',
        "arms": f"synvita evaluate {quote(str(out / 'fine-tuned' / 'synvita'))} "
        f"--task {quote(str(tests / f'{chain.TASK}.yaml'))} --annotations {quote(str(tests))} "
        f"--real-root {quote(str(tests / 'clips'))} --name {quote(title)}",
        "compare": f"synvita leaderboard {quote(str(results))} --no-published",
    }


def _look(terminal: "Terminal", planned: "Demo", dataset: Path, rows: Any) -> None:
    """One row, and the table of misalignments."""
    from ..dataset.built import open_dataset
    from ..dataset.inspection import inspect_dataset
    from ..dataset.load import real_coverage
    from ..demo.chain import CONFIG
    from .inspect import summary_table

    terminal.line(f"{counted(rows.num_rows, 'rows')}, {real_coverage(rows)}")
    row = rows[0]
    kept = _marked(row["caption"], row["shared"]["caption"])
    contrast = _marked(row["neg_caption"], row["shared"]["neg_caption"])
    size = len(row["synthetic_video"]["bytes"])
    terminal.line(f"  caption           {kept}")
    terminal.line(f"  contrast caption  {contrast}    (brackets: what the masks hide)")
    terminal.line(f"  synthetic video   {size:,} bytes of mp4, weight {row['weight']:.3f}")
    inspection = inspect_dataset(open_dataset(str(planned.out / "dataset")), CONFIG)
    terminal.show(summary_table(replace(inspection, name=str(dataset)), is_default=True))


def _marked(caption: str, shared: list[list[int]]) -> str:
    """The caption with its hidden parts in brackets."""
    from ..captions import hidden_spans

    text = caption
    for start, end in reversed(hidden_spans(caption, [(a, b) for a, b in shared])):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def _train(
    planned: "Demo", course: "Course", terminal: "Terminal", show: Callable[[str], None]
) -> "tuple[Sequence[Arm], Mapping[str, str]]":
    """Tests, arms and their comparison."""
    from ..demo import chain
    from ..demo.arms import make_job, run_arms
    from ..jobs import JobProgress
    from .leaderboard import render

    def film(at: Callable[[float], None]) -> Mapping[str, Any]:
        return {"tests": {name: path.name for name, path in chain.make_tests(planned).items()}}

    tests = course.run("tests", film).facts["tests"]
    declared = {name: planned.out / "benchmark" / file for name, file in tests.items()}

    def fine_tune(at: Callable[[float], None]) -> Mapping[str, Any]:
        job = make_job(
            planned.study,
            planned.out,
            model=planned.study.model,
            seed=planned.seed,
            tasks=declared,
            results=chain.RESULTS,
        )

        def follow(progress: JobProgress) -> None:
            at(progress.done / max(progress.total, 1))

        return {"arms": run_arms(job, planned.workers, follow)}

    facts = course.run("arms", fine_tune).facts["arms"]
    show("arms")

    def compare(at: Callable[[float], None]) -> Mapping[str, Any]:
        arms, sets = chain.compare(planned, declared, at)
        return {"arms": [asdict(arm) for arm in arms], "sets": sets}

    found = course.run("compare", compare).facts
    show("compare")
    for part in render(chain.leaderboard(planned), terminal.width):
        terminal.show(part)
    arms = [chain.arm_of(record, facts.get(record["name"], {})) for record in found["arms"]]
    terminal.line()
    for part in _changes(arms, found["sets"]):
        terminal.show(part)
    from ..demo.page import SHOWS_NOT, changes

    for line in changes(arms, chain.UNSEEN):
        terminal.line(f"unseen concepts, {line}")
    terminal.line(SHOWS_NOT[0], style="yellow")
    terminal.line(SHOWS_NOT[1], style="yellow")
    return arms, found["sets"]


def _changes(arms: "Sequence[Arm]", sets: Mapping[str, str]) -> "list[RenderableType]":
    """A table: under each test set the arms, each beside the model before."""
    from rich import box
    from rich.table import Table

    from ..demo.page import interval_text, is_told_apart
    from ..display import cell, number

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold"
    )
    table.add_column("test set and arm", overflow="fold")
    for heading in ("before", "score", "95%", "change", "95%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, title in sets.items():
        table.add_row(cell(title, "bold"))
        for arm in arms:
            score = arm.scores.get(name)
            if score is None or score.change is None:
                continue
            style = "" if not is_told_apart(score) else "green" if score.change > 0 else "red"
            table.add_row(
                cell(f"  {arm.title}"),
                f"{score.value - score.change:.1f}",
                f"{score.value:.1f}",
                cell(interval_text(score.low, score.high), "dim"),
                cell(number(score.change, "+.1f"), style),
                cell(interval_text(score.change_low, score.change_high, signed=True), "dim"),
            )
        table.add_section()
    return [table]
