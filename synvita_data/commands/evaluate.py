"""`synvita evaluate`: score a model on benchmarks, or evaluate a file of scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ScorerOptions, scorer_options

if TYPE_CHECKING:
    from ..evaluation.run import Evaluation


@scorer_options()
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="chance, or the Hub id or folder of a Video LLM, its adapter, CLIP or SigLIP; none with --predictions.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="NAME", help="Name of a benchmark; repeat for several."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Annotation file of the task, or a folder that holds the files of all tasks."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder where results are written.")] = Path(
        "results"
    ),
    real_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the benchmark's videos.")
    ] = None,
    real_mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File that says which file is which video (docs/dataset.md)."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Evaluate these scores instead of a model: our Parquet or the released CSVs."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model in results. Default: MODEL, or the file's name.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of the scores in --predictions: log_odds, probability or similarity."),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial", help="Continue when videos or scores are missing; the result is never official."
        ),
    ] = False,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Ignore --predictions of other videos and captions.")
    ] = False,
    join: Annotated[
        str,
        typer.Option(
            help="What two scores of one text in --predictions are: strict (an error) or official (joined as the "
            "official scripts do)."
        ),
    ] = "strict",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap, and of chance.")] = 0,
    resamples: Annotated[
        int, typer.Option(help="Number of bootstrap resamples for the intervals.", min=0)
    ] = 1000,
    limit: Annotated[
        int | None, typer.Option(help="Score only this many videos, for a trial.", min=1)
    ] = None,
    *,
    loading: ScorerOptions,
) -> None:
    """Score a model on benchmarks and write one result file a task, or evaluate a file of scores.

    Saves after every video and resumes. Under `accelerate launch` the processes share the videos.
    """
    from ..annotations import read_annotations
    from ..errors import SynvitaError
    from ..tasks import get_task

    # Complain about the options and the annotations before long work.
    if (model is None) == (predictions is None):
        raise SynvitaError("give either a MODEL or --predictions", fix="See synvita evaluate --help")
    if predictions is not None and limit is not None:
        raise SynvitaError("--limit is for models", fix="Leave it out: a score file is evaluated whole")
    for_models = loading.given(("preprocess", "flips", "readout", "merge", "mode"))
    if predictions is not None and for_models:
        raise SynvitaError(
            "these options are for models",
            found=", ".join(for_models),
            fix="Leave them out: the scores of a file are made already",
        )
    if predictions is None and join != "strict":
        raise SynvitaError("--join is for --predictions", fix="Leave it out: a model gives a text one score")
    if not task:
        from ..tasks import TASKS

        raise SynvitaError("no task is named", expected=f"--task {', '.join(TASKS)}")
    if annotations is None:
        raise SynvitaError(
            "no annotations are given",
            expected="--annotations FILE_OR_FOLDER",
            fix="docs/tasks.md says where each benchmark's file is published",
        )
    if predictions is not None and len(set(task)) > 1:
        raise SynvitaError("a score file is of one task", found=", ".join(task), expected="one --task")
    tasks = [get_task(each) for each in dict.fromkeys(task)]
    read = [(each, read_annotations(each, annotations)) for each in tasks]
    options: dict[str, Any] = {"partial": partial or limit is not None, "resamples": resamples, "seed": seed}
    from ..evaluation.run import check_writable

    check_writable(out)
    if predictions is not None:
        from ..evaluation.run import evaluate_predictions

        _report(
            evaluate_predictions(
                predictions,
                *read[0],
                out,
                name=name,
                kind=kind,
                allow_unknown=allow_unknown,
                join=join,
                **options,
            )
        )
        return

    # Load the model.
    if real_root is None and model != "chance":
        raise SynvitaError("no videos are given", expected="--real-root DIR")
    assert model is not None
    scorer = loading.open(model, seed=seed)
    from ..evaluation.run import check_evaluation, evaluate_scorer
    from ..evaluation.scoring import process_rank
    from ..progress import Progress

    for each, rows in read:  # all of them before long work
        check_evaluation(scorer, each, rows, out, partial=bool(options["partial"]))
    cut_texts = getattr(scorer, "cut_texts", None)
    if cut_texts is not None:
        for each, rows in read:
            if told := cut_texts(rows.captions):
                _say(f"{each.name}: {len(told):,} captions are longer than the model reads, first: {told[0]}")
    for each, rows in read:
        with Progress(f"{scorer.name} on {each.name}", enabled=process_rank() == 0) as progress:
            done = evaluate_scorer(
                scorer,
                each,
                rows,
                real_root,
                out,
                name=name,
                real_mapping=real_mapping,
                limit=limit,
                on_progress=progress.follow,
                checked=True,
                **options,
            )
        if done is not None:
            _report(done)


def _say(line: str) -> None:
    from ..display import Terminal

    Terminal().line(line, style="yellow")


def _report(done: "Evaluation") -> None:
    from ..display import Terminal, print_error
    from ..leaderboard.table import estimate_text

    if done.texts_cut:
        _say(f"{done.texts_cut:,} texts of videos are longer than the model reads: their ends were cut")
    if done.doubts:
        print_error(
            f"{len(done.doubts):,} videos are not as long as their names say, first: {done.doubts[0]}",
            "yellow",
        )
    result, path = done.result, done.path
    terminal, score = Terminal(), result.main_score
    terminal.line(("bold", result.task), f" · {result.model} · {score['name']} {estimate_text(score)}")
    if score["best_ties"] is not None and score["best_ties"] - score["worst_ties"] > 0.005:
        terminal.line(f"ties: between {score['worst_ties']:.2f} and {score['best_ties']:.2f} by their order")
    if not result.official:
        terminal.line(("yellow", "not official:"), " " + "; ".join(result.record["why_not_official"]))
    terminal.line(str(path), style="dim")
