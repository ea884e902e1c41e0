"""`synvita build`: assemble a dataset folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import counted
from .options import (
    JsonOption,
    PromptTooLong,
    PromptTooLongOption,
    SamplesOption,
    SourceOption,
    SplitOption,
    check_json,
    put_json,
    run_options,
)
from .writer_options import writer_options

if TYPE_CHECKING:
    from synvita_data.builders.contrast.writing.report import ContrastReport
    from synvita_data.builders.dataset import BuildResult

    from ..display import Terminal
    from ..jobs import RunOptions
    from .writer_options import WriterOptions

QUARANTINE_SHOWN = 5


@run_options(without=("devices", "shard", "limit", "verify"))
@writer_options()
def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Dataset folder; other configs in it are kept.")],
    triplets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="VideoCon's CSVs, or any CSV, JSONL or Parquet; shapes: makes its own."
        ),
    ] = None,
    captions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Videos with captions, in place of --triplets: --writer writes the contrast captions first.",
        ),
    ] = None,
    writer: Annotated[
        str | None,
        typer.Option(
            metavar="WRITER",
            help="Who writes them: rules[:DIR], llm:MODEL, api:URL#MODEL or shapes (contrast).",
        ),
    ] = None,
    synthetic: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Synthetic videos: folder:DIR, shapes:, the authors' hf:lucazanella/videocon_syn[@REVISION], or a "
            "generator: diffusers:REPO_OR_DIR, …",
        ),
    ] = None,
    synthetic_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the authors' videos, or of others named as theirs, in place of --synthetic.",
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Generator of the authors' videos where no folder or archive names it; else take only this one's.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="annotations: the number in a name of the authors counts the contrast captions of its video, in the "
            "order of --triplets."
        ),
    ] = None,
    embed_synthetic: Annotated[
        bool,
        typer.Option(
            "--embed-synthetic",
            help="Copy the authors' videos into the Parquet files, after their licence is printed; else rows refer to "
            "them.",
        ),
    ] = False,
    vqascores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Scores of VQA models, as Parquet or long CSV.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the config, usually the generator. Default: the name of --generator, folder:DIR or the model.",
        ),
    ] = None,
    weighting: Annotated[
        str,
        typer.Option(
            help="How scores become weights: difference (Eq. 4), fixed, match, product or indicator (Table 4)."
        ),
    ] = "difference",
    real_root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of your real videos; they are reported, not copied."),
    ] = None,
    real_mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File that says which file is which real video (docs/dataset.md)."),
    ] = None,
    embed_real: Annotated[
        bool,
        typer.Option("--embed-real", help="Copy real videos into the Parquet files, for private use only."),
    ] = False,
    granularity: Annotated[
        str, typer.Option(help="Granularity of the masks: word, token or released.")
    ] = "word",
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Tokenizer for masks that are not word-level: tokenizer.json, its folder or a Hub id."
        ),
    ] = None,
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", help="Compare words without case in word-level masks.")
    ] = False,
    split: SplitOption = None,
    source: SourceOption = None,
    max_shard_mb: Annotated[int, typer.Option(help="Largest size of a Parquet file, in MB.", min=1)] = 500,
    samples: SamplesOption = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting of the generator: steps=25, …"),
    ] = None,
    prompt_too_long: PromptTooLongOption = PromptTooLong.warn,
    vqa_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Score the videos with this model instead of --vqascores; repeat for an ensemble.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Number of threads that check videos.", min=1)] = 2,
    limit: Annotated[
        int | None, typer.Option(help="Take only the first so many triplets, for a trial.", min=1)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be read, joined, missing and written; write nothing, make and fetch no video.",
        ),
    ] = False,
    json_file: JsonOption = None,
    *,
    writing: "WriterOptions",
    run: "RunOptions",
) -> None:
    """Assemble triplets, synthetic videos and scores into a dataset that `load_dataset` reads.

    With --captions and --writer, a generator as --synthetic and --vqa-model it is the whole chain, from captions alone
    to a dataset. Run it again after a kill and it continues; run it with another --config to add one.
    """
    import time

    from synvita_data.builders.dataset import BuildOptions, Chain, build_dataset
    from synvita_data.builders.dataset.dry_run import dry_run as plan_build
    from synvita_data.builders.dataset.options import check_inputs, chosen_synthetic, default_config

    from ..display import Terminal
    from ..errors import SynvitaError
    from ..progress import Progress

    synthetic = chosen_synthetic(synthetic, synthetic_root)
    started = time.monotonic()
    check_json(json_file)
    check_inputs(triplets, captions, writer, writing.given())
    if dry_run and (captions is not None or str(triplets).startswith("shapes:")):
        raise SynvitaError(
            "--dry-run reads triplets that are there, and these are written first",
            found=f"--captions {captions}" if captions is not None else f"--triplets {triplets}",
            fix="Write them with `synvita contrast`, and give its file as --triplets"
            if captions is not None
            else "Leave --dry-run out",
        )
    if captions is not None:
        where = {"real_root": real_root, "split": split, "source": source, "run": run}
        triplets = _write_contrasts(captions, str(writer), out, writing, **where)
    assert triplets is not None
    if str(triplets).startswith("shapes:"):  # the embedded default: a whole dataset from nothing
        from synvita_data.builders.shapes import write_triplets

        triplets = write_triplets(str(triplets).removeprefix("shapes:"), out / ".work" / "triplets")
    prompts: list[tuple[str, int]] = []
    with Progress("building") as progress:
        options = BuildOptions(
            triplets=triplets,
            out=out,
            config=config or default_config(synthetic, generator),
            synthetic=synthetic,
            generator=generator,
            order=order,
            embed_synthetic=embed_synthetic,
            on_note=progress.say,
            vqascores=vqascores,
            real_root=real_root,
            real_mapping=real_mapping,
            embed_real=embed_real,
            weighting=weighting,
            granularity=granularity,
            tokenizer=tokenizer,
            ignore_case=ignore_case,
            split=split,
            source=source,
            max_shard_bytes=max_shard_mb * 1_000_000,
            threads=threads,
            limit=limit,
            chain=Chain(
                samples=samples,
                overrides=tuple(settings or ()),
                prompt_too_long=prompt_too_long.value,
                models=tuple(vqa_model or ()),
                run=run,
                on_progress=progress.follow,
                on_prompts=lambda *told: prompts.append(told),
            ),
        )
        plan = plan_build(options) if dry_run else None
        counted: dict[str, int] = {}

        def advance(stage: str, more: int, total: int) -> None:
            counted[stage] = counted.get(stage, 0) + more
            progress.at(counted[stage], total, stage)

        result = None if plan is not None else build_dataset(options, advance)
    if plan is not None:
        if json_file != "-":
            for line in plan.lines():
                Terminal().line(line)
        put_json(json_file, plan.record)
        return
    assert result is not None
    seconds = time.monotonic() - started
    if json_file != "-":
        terminal = Terminal()
        for line, _ in prompts:
            terminal.line(line)
        print_result(terminal, result, seconds)
    put_json(
        json_file,
        {
            "out": str(result.out),
            "config": result.config,
            "was_up_to_date": result.was_up_to_date,
            "seconds": round(seconds, 1),
            "record": result.record,
            "quarantine": result.quarantine,
        },
    )
    if result.quarantine:
        raise typer.Exit(1)  # as generate and vqascore do: somebody should look at what was left out


def _write_contrasts(captions: str, writer: str, out: Path, writing: "WriterOptions", **where: Any) -> Path:
    """The triplets of captions alone, in the build's work folder.

    Raises:
        SynvitaError: as of `write_contrasts`, of a benchmark's captions, or some are not written yet.
    """
    from synvita_data.builders.contrast.writing.run import write_contrasts

    from ..display import Terminal
    from ..errors import SynvitaError
    from ..held_out import refuse_file
    from ..progress import Progress

    if Path(captions).is_file():
        refuse_file(Path(captions))
    if writing.values["frame_vqa"] is None:  # real videos are then for the build alone
        where["real_root"] = None
    place = out / ".work" / "contrast" / "triplets.csv"
    with Progress("writing contrast captions") as progress:
        options = writing.options(
            writer=writer, captions=captions, out=place, on_progress=progress.follow, **where
        )
        report: ContrastReport = write_contrasts(options)
    terminal = Terminal()
    for line in report.lines():
        terminal.line(line)
    if not report.complete:
        raise SynvitaError(
            "not all contrast captions are written yet", file=place, fix="Run again; what is done stays"
        )
    return place


def print_result(terminal: "Terminal", result: "BuildResult", seconds: float) -> None:
    """What was built, what was left out and why, and how to load it."""
    from synvita_data.builders.dataset.notes import authors_notes, contrast_notes, prompt_notes, score_notes

    from ..errors import SynvitaError

    record = result.record
    dropped = record["triplets"]
    covered = record["coverage"]
    of_csv = record.get("training_csv")
    read = f"{dropped['read']:,} " + (
        "triplets" if of_csv is None else f"rows of {of_csv['triplets']:,} triplets"
    )
    terminal.line(
        ("bold", result.out),
        f" · config {result.config} · {counted(record['rows'], 'rows')} from {read} "
        f"({counted(dropped['duplicates'], 'exact duplicates')} dropped, {record['quarantined']:,} quarantined)",
    )
    videos, scored, found = (covered[k][0] for k in ("synthetic_video", "vqascores", "real_video_found"))
    here = record.get("scores", {}).get("with_video", scored)
    of_them = "" if here == scored else f", {here:,} of them with their synthetic video"
    refers = record.get("authors_videos") is not None and not record["options"]["embed_synthetic"]
    held = f"{counted(videos, 'synthetic videos')} {'referred to' if refers else 'embedded'} · "
    terminal.line(
        f"{held}{counted(scored, 'rows')} with VQAScores{of_them} · {counted(found, 'real videos')} found",
    )
    for note in contrast_notes(record):
        terminal.line(f"contrast captions: {note}")
    for note in score_notes(record):
        terminal.line(f"scores: {note}", style="yellow")
    for note in prompt_notes(record):
        terminal.line(f"prompts: {note}", style="yellow")
    for note in authors_notes(record):
        terminal.line(f"authors' videos: {note}", style="yellow")
    if record["unmatched_videos"]:
        first = ", ".join(record["unmatched_videos_first"][:3])
        terminal.line(
            ("yellow", f"{counted(record['unmatched_videos'], 'video files belong')} to no triplet"),
            f" ({first}, …)",
        )
    if doubted := record.get("real_videos_doubted"):
        first = record["real_videos_doubted_first"][0]
        terminal.line(
            ("yellow", f"{counted(doubted, 'real videos are')} not as long as their names say"),
            f", first: {first['file']}: {first['found']}",
        )
    if record["real_videos_refused"]:
        first = record["real_videos_refused_first"][0]
        terminal.line(
            ("yellow", f"{counted(record['real_videos_refused'], 'real videos were')} refused"),
            f", first: {SynvitaError.from_record(first)}",
        )
    if record["unused_scores"]:
        terminal.line(
            f"{counted(record['unused_scores'], 'entries of the score table belong')} to no row that was kept",
        )
    for entry in result.quarantine[:QUARANTINE_SHOWN]:
        terminal.line(("yellow", "quarantined"), f" {SynvitaError.from_record(entry)}")
    if len(result.quarantine) > QUARANTINE_SHOWN:
        terminal.line(f"… and {len(result.quarantine) - QUARANTINE_SHOWN:,} more in quarantine.jsonl")
    state = "already up to date" if result.was_up_to_date else "built"
    terminal.line(f'{state} in {seconds:.1f} s · load_triplets("{result.out}", "{result.config}")')
