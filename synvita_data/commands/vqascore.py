"""`synvita vqascore`: score synthetic videos with VQA models."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import counted
from .options import SourceOption, SplitOption, TripletsOption, run_options

if TYPE_CHECKING:
    from ..jobs import RunOptions


class ScoreName(StrEnum):
    """Which score the table holds."""

    reference = "reference"
    first_token = "first-token"


class Preprocessing(StrEnum):
    """How a frame becomes a square."""

    reference = "reference"
    hf = "hf"


@run_options(without=("verify",))
def vqascore(
    triplets: TripletsOption,
    synthetic: Annotated[
        str,
        typer.Option(
            metavar="SPEC", help="Synthetic videos: folder:DIR, hf:OWNER/NAME, …, as for synvita build."
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="clip-flant5-xxl|xl, instructblip-flan-t5-xxl|xl, llava-1.5-13b|7b, a Hub id or a folder, "
            "NAME@REVISION; repeat for an ensemble.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Score table to write, .parquet.")],
    frames: Annotated[int, typer.Option(help="Number of frames of each video.", min=1)] = 4,
    rule: Annotated[
        str, typer.Option(help="Rule that selects the frames (docs/video.md).")
    ] = "segment-midpoints",
    backend: Annotated[str, typer.Option(help="Decoder: pyav, decord or torchcodec.")] = "pyav",
    score: Annotated[
        ScoreName | None,
        typer.Option(
            help="Which score the table holds. Default: reference for the paper's three, first-token for chat models."
        ),
    ] = None,
    preprocess: Annotated[
        Preprocessing, typer.Option(help="Preprocessing of the released scorers, or of transformers.")
    ] = Preprocessing.reference,
    placeholder_space: Annotated[
        str | None,
        typer.Option(
            help="What follows <image> in LLaVA-1.5's prompt (docs/vqascore.md): processor (as transformers) or original. "
            "Default: the one a fine-tune was trained with, or else processor."
        ),
    ] = None,
    whole_video: Annotated[
        bool, typer.Option("--whole-video", help="Show video chat models all frames at once.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Generator in row ids, where videos do not name theirs, as of synvita build."
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the work in progress. Default: beside FILE, in .work."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Dtype of the weights. Default: bfloat16 on GPUs, float32 on CPUs.")
    ] = None,
    batch_rows: Annotated[
        int, typer.Option(help="Number of videos in a batch; from 2 on, scores differ in rounding.", min=1)
    ] = 1,
    threads: Annotated[
        int, typer.Option(help="Number of threads of each worker that decode ahead.", min=1)
    ] = 2,
    split: SplitOption = None,
    source: SourceOption = None,
    *,
    run: "RunOptions",
) -> None:
    """Score each synthetic video with its contrast caption and its real caption, frame by frame, by each model.

    Run it again after a kill and it continues; run it in several places on one folder and they share the work.
    """
    from synvita_data.builders.training_csv import open_triplets
    from synvita_data.builders.vqascore import VqaSettings, default_dtype, find_model, score_videos

    from ..display import Terminal
    from ..errors import SynvitaError
    from ..extras import require
    from ..progress import Progress
    from ..video import FramePolicy

    if run.address is None:  # else the workers' machines need them
        require("score", "torch", "transformers", what="synvita vqascore")
    settings = VqaSettings(
        frames=FramePolicy(count=frames, rule=rule, backend=backend),
        preprocessing=preprocess.value,
        dtype=dtype or default_dtype(run.devices, run.address),
        batch_rows=batch_rows,
        threads=threads,
        placeholder_space=placeholder_space,
    )
    models = [find_model(name, whole_video=whole_video) for name in model]
    if placeholder_space == "original" and not any(
        each.placeholder_space(placeholder_space) == placeholder_space for each in models
    ):
        raise SynvitaError(
            "none of these models has another placeholder_space",
            found=", ".join(each.label for each in models),
            expected="LLaVA-1.5, or Video-LLaVA with --whole-video",
            fix="Leave --placeholder-space out",
        )
    reader = open_triplets(triplets, split=split, source=source)
    rows = list(reader)
    terminal = Terminal()
    with Progress("checking videos") as progress:
        checked = 0

        def advance(more: int, total: int) -> None:
            nonlocal checked
            checked += more
            progress.at(checked, total, "checking videos")

        report = score_videos(
            rows,
            synthetic,
            models,
            out,
            work=work,
            settings=settings,
            score=None if score is None else score.value,
            generator=config,
            run=run,
            on_checked=advance,
            on_progress=progress.follow,
        )
    if unread := reader.report.quarantined:
        terminal.line(f"{counted(len(unread), 'rows')} of {triplets} cannot be used, first: {unread[0]}")
    for line in report.lines():
        terminal.line(line)
    if report.complete and report.table is not None:
        following = ["synvita", "build", "--triplets", str(triplets), "--synthetic", synthetic]
        terminal.line(f"Next: {shlex.join([*following, '--vqascores', str(out), '--out', 'DATASET'])}")
    raise typer.Exit(report.exit_status or int(bool(unread)))
