"""`synvita evaluate`: score a model on benchmarks, or evaluate a file of scores."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import counted
from .options import JsonOption, ScorerOptions, check_json, put_json, scorer_options

if TYPE_CHECKING:
    from ..evaluation.named import NamedVideo
    from ..evaluation.run import Evaluation
    from ..real_videos.find import RealVideos


@scorer_options()
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="chance, words (a bag of words), or the Hub id or folder of a Video LLM, its adapter, CLIP or SigLIP; none with --predictions.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="Name of a benchmark, or the YAML file of your own (docs/tasks.md); repeat for several.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="Form of --annotations without a --task: entailment, retrieval, choice, groups, yes_no or pairs."
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows",
            help="Leave out annotation rows that cannot be used, and count them; the result is never official.",
        ),
    ] = False,
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
    control: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take the video away, to see whether the model watches: text (no video), frame (the middle one alone), "
            "reverse or shuffle (docs/evaluation.md).",
        ),
    ] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(
            "--video",
            metavar="ID",
            help="Print the scores of this video only (id or path); repeat for several.",
        ),
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--item",
            metavar="ID",
            help="Print the scores of this pair, question, group or caption only; repeat for several.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the bootstrap, of chance, of words and of --control shuffle.")
    ] = 0,
    resamples: Annotated[
        int, typer.Option(help="Number of bootstrap resamples for the intervals.", min=0)
    ] = 1000,
    limit: Annotated[
        int | None, typer.Option(help="Score only this many videos, for a trial.", min=1)
    ] = None,
    json_file: JsonOption = None,
    *,
    loading: ScorerOptions,
) -> None:
    """Score a model on benchmarks and write one result file a task, or evaluate a file of scores.

    Saves after every video and resumes. Under `accelerate launch` the processes share the videos.
    """
    from ..annotations import read_annotations
    from ..errors import SynvitaError
    from ..tasks import get_task, task_of_file, task_setting

    # Complain about the options and the annotations before long work.
    check_json(json_file)
    if (model is None) == (predictions is None):
        raise SynvitaError("give either a MODEL or --predictions", fix="See synvita evaluate --help")
    if predictions is not None and limit is not None:
        raise SynvitaError("--limit is for models", fix="Leave it out: a score file is evaluated whole")
    for_models = loading.given(("preprocess", "flips", "readout", "merge", "mode"))
    of_models = {"--control": control, "--video": video or None, "--item": item or None}
    for_models |= {option: value for option, value in of_models.items() if value is not None}
    for_models |= loading.given(("fps", "max_frames"))
    if predictions is not None and for_models:
        raise SynvitaError(
            "these options are for models",
            found=", ".join(for_models),
            fix="Leave them out: the scores of a file are made already",
        )
    if limit is not None and (video or item):
        raise SynvitaError("--limit is for whole benchmarks", fix="Leave it out: --video and --item name all")
    if predictions is None and join != "strict":
        raise SynvitaError("--join is for --predictions", fix="Leave it out: a model gives a text one score")
    if task and form is not None:
        raise SynvitaError("--form is for annotations without a --task", fix="Leave one of them out")
    if not task and form is None:
        from ..tasks import TASKS

        raise SynvitaError(
            "no task is named",
            expected=f"--task {', '.join(TASKS)}, --task FILE.yaml, or --form FORM for annotations of your own",
        )
    if annotations is None:
        raise SynvitaError(
            "no annotations are given",
            expected="--annotations FILE_OR_FOLDER",
            fix="docs/tasks.md says where each benchmark's file is published",
        )
    if predictions is not None and task and len(set(task)) > 1:
        raise SynvitaError("a score file is of one task", found=", ".join(task), expected="one --task")
    tasks = [get_task(each) for each in dict.fromkeys(task or ())]
    if form is not None:
        tasks = [task_of_file(annotations, form)]
    read = [(each, read_annotations(each, annotations, skip_bad=skip_bad_rows)) for each in tasks]
    for each, rows in read:
        if rows.report.left_out and each.columns is not None:
            _say(
                f"{each.name}: {counted(len(rows.report.left_out), 'rows')} left out, first: {rows.report.left_out[0]}",
                json_file,
            )
    if video or item:
        from ..evaluation.named import named_rows

        rows_of = named_rows(read, video or (), item or ())
    options: dict[str, Any] = {"partial": partial or limit is not None, "resamples": resamples, "seed": seed}
    from ..evaluation.run import check_writable

    check_writable(out)
    if predictions is not None:
        from ..evaluation.run import evaluate_predictions

        of_file = evaluate_predictions(
            predictions,
            *read[0],
            out,
            name=name,
            kind=kind,
            allow_unknown=allow_unknown,
            join=join,
            **options,
        )
        _report_all([of_file], json_file)
        return

    # Load the model.
    from ..evaluation.run import look_for_videos
    from ..scoring.open import BASELINES, refuse_misspelt

    assert model is not None
    refuse_misspelt(model)
    looks = model not in BASELINES and control != "text"
    if real_root is None and looks:
        raise SynvitaError("no videos are given", expected="--real-root DIR")
    videos: dict[str, RealVideos] = {}
    if real_root is not None and looks and not options["partial"] and not (video or item):
        for each, rows in read:  # before a model is loaded
            videos[each.name] = look_for_videos(each, rows, real_root, real_mapping)
    declared: dict[str, Any] = {}
    if model not in BASELINES:
        asked = task_setting(tasks, "prompt", "question")
        loading = replace(loading, prompt=loading.prompt or (None if asked == "question" else asked))
        declared = task_setting(tasks, "frames", {})
    scorer = loading.open(model, seed=seed, control=control, frames=declared)
    from ..evaluation.run import check_evaluation, evaluate_scorer
    from ..evaluation.scoring import process_rank
    from ..progress import Progress

    if video or item:
        from ..errors import VideoError
        from ..evaluation.named import score_named

        samples: list[NamedVideo] = []
        for (each, annotated), named in zip(read, rows_of, strict=True):
            if len(named):
                samples += score_named(
                    scorer, each, annotated, named, real_root, out, real_mapping=real_mapping
                )
        put_json(json_file, {"kind": scorer.kind, "videos": [asdict(sample) for sample in samples]})
        for sample in samples if json_file != "-" else ():
            _show_named(sample, scorer.kind)
        if broken := [sample for sample in samples if sample.error is not None]:
            raise VideoError(str(broken[0].error), file=broken[0].video.videopath or broken[0].video.video_id)
        return
    for each, rows in read:  # all of them before long work
        check_evaluation(scorer, each, rows, out, partial=bool(options["partial"]))
    cut_texts = getattr(scorer, "cut_texts", None)
    if cut_texts is not None:
        for each, rows in read:
            if told := cut_texts(rows.captions):
                _say(
                    f"{each.name}: {counted(len(told), 'captions are')} longer than the model reads, first: {told[0]}",
                    json_file,
                )
    finished: list[Evaluation] = []
    for each, rows in read:
        with Progress(f"{scorer.name} on {each.name}", enabled=process_rank() == 0) as progress:
            done = evaluate_scorer(
                scorer,
                each,
                rows,
                videos.get(each.name, real_root),
                out,
                name=name,
                real_mapping=real_mapping,
                limit=limit,
                on_progress=progress.follow,
                checked=True,
                **options,
            )
        if done is None:  # not the first process
            continue
        finished.append(done)
        if json_file != "-":
            _report(done)
    if finished:
        put_json(json_file, _as_record(finished))


def _show_named(sample: "NamedVideo", kind: str) -> None:
    """A named video's texts, with what the annotations and the model say of each."""
    from rich import box
    from rich.table import Table

    from ..display import Terminal, cell, number

    terminal, video = Terminal(), sample.video
    place = f" · {video.videopath}" if video.videopath not in (None, video.video_id) else ""
    frames = f" · frames {', '.join(map(str, sample.frames))}" if sample.frames else ""
    terminal.line(("bold", f"{sample.task} · {video.video_id}"), place, ("dim", frames))
    if sample.error is not None:
        terminal.line(("red", sample.error))
        return
    with_type = any(text.of for text in sample.texts)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(kind.replace("_", "-"), justify="right", no_wrap=True)
    table.add_column("label", justify="right")
    table.add_column("item", overflow="fold")
    if with_type:
        table.add_column("type", overflow="fold")
    table.add_column("text", overflow="fold")
    for text in sample.texts:
        score = number(text.score, "+.4f" if kind == "log_odds" else ".4f")
        of = [cell(text.of)] if with_type else []
        table.add_row(cell(score), cell(text.label), cell(text.item), *of, cell(text.caption))
    terminal.show(table)


def _as_record(finished: "Sequence[Evaluation]") -> dict[str, Any]:
    """What `--json` says of evaluations: the content of each result file, and what was said beside."""
    return {
        "results": [
            {
                "file": str(done.path),
                "texts_cut": done.texts_cut,
                "doubts": [doubt.to_record() for doubt in done.doubts],
                "result": done.result.record,
            }
            for done in finished
        ]
    }


def _report_all(finished: "Sequence[Evaluation]", json_file: str | None) -> None:
    for done in finished if json_file != "-" else ():
        _report(done)
    put_json(json_file, _as_record(finished))


def _say(line: str, json_file: str | None = None) -> None:
    """A note; on standard error where JSON has standard output to itself."""
    from ..display import Terminal

    Terminal(err=json_file == "-").line(line, style="yellow")


def _report(done: "Evaluation") -> None:
    from ..display import Terminal, print_error
    from ..leaderboard.table import estimate_text

    if done.texts_cut:
        _say(
            f"{counted(done.texts_cut, 'texts')} of videos are longer than the model reads: their ends were cut"
        )
    if done.doubts:
        print_error(
            f"{counted(len(done.doubts), 'videos are')} not as long as their names say, first: {done.doubts[0]}",
            "yellow",
        )
    result, path = done.result, done.path
    terminal, score = Terminal(), result.main_score
    terminal.line(("bold", result.stem), f" · {result.model} · {score['name']} {estimate_text(score)}")
    if score["best_ties"] is not None and score["best_ties"] - score["worst_ties"] > 0.005:
        terminal.line(f"ties: between {score['worst_ties']:.2f} and {score['best_ties']:.2f} by their order")
    if not result.official:
        terminal.line(("yellow", "not official:"), " " + "; ".join(result.record["why_not_official"]))
    checked = result.record.get("checked") or {}
    if checked.get("unchecked"):
        terminal.line("annotations: unchecked", style="dim")
    for each in checked.get("checked_against", ()):
        said = {True: "checked against", False: "not the file checked against", None: "not compared with"}
        terminal.line(
            f"annotations: {said[each['same']]} {each['file']} sha256 {each['sha256'][:16]}…", style="dim"
        )
    terminal.line(str(path), style="dim")
