"""`synvita score`: score any videos with any texts."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..display import counted
from .options import FOR_ALL_SCORERS, SCORER_OPTIONS, ScorerOptions, scorer_options
from .vqascore import ScoreName

if TYPE_CHECKING:
    from ..pair_scores.pairs import PairScores
    from ..pair_scores.tables import PairTable
    from ..scoring import Scorer

_SHOWN = 5  # rows without a score that are spelt out
# Options of Video LLMs that VQAScore has too.
_VQA_OPTIONS = (*FOR_ALL_SCORERS, "preprocess", "placeholder_space")


@scorer_options(without=("flips",))
def score(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE_OR_DIR", help="CSV, JSONL or Parquet of videos and texts, or a folder of videos."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Hub id or folder of a Video LLM, its adapter, CLIP, SigLIP or VQA model; clip-flant5-xxl, …; or chance.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Table to write: the input with scores, .csv, .jsonl or .parquet."),
    ],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="Score every video with this text; repeat for several."),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score every video with each text of this file: a text a line, or a table's column.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder that the table's paths are relative to. Default: the table's own."
        ),
    ] = None,
    video_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Column with the videos. Default: video, videopath, video_path or path."
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column with the texts. Default: text, caption or prompt."),
    ] = None,
    vqascore: Annotated[
        ScoreName | None,
        typer.Option(
            "--vqascore",
            help="Give VQAScore of this kind instead of log-odds; the paper's VQA models give it without.",
        ),
    ] = None,
    whole_video: Annotated[
        bool, typer.Option("--whole-video", help="VQAScore of a Video LLM that sees all frames at once.")
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the work in progress. Default: beside FILE, in .work."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace FILE although another run wrote it.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of chance.")] = 0,
    *,
    loading: ScorerOptions,
) -> None:
    """Score each row's video with its text, or all videos of a folder with some texts.

    Saves after every video and resumes. Under `accelerate launch`, or started again beside itself, processes share the
    videos.
    """
    from ..evaluation.scoring import process_rank
    from ..pair_scores.output import check_out, claim_out, run_facts, write_pairs
    from ..pair_scores.pairs import check_scorer, check_texts, score_pairs
    from ..progress import Progress

    # Complain about names and rows before a model is loaded.
    check_out(out)
    table = read_table(source, text, texts, root, video_column, text_column)
    _check_any_video(table)
    scorer = open_model(model, loading, seed, None if vqascore is None else vqascore.value, whole_video)
    check_scorer(scorer)
    check_texts(scorer, table.pairs, table.source)
    claim_out(out, table, scorer, overwrite=overwrite, own=() if texts is None else (texts,))
    if (cut_texts := getattr(scorer, "cut_texts", None)) is not None and (
        told := cut_texts(pair.text for pair in table.pairs)
    ):
        _say(f"{counted(len(told), 'texts are')} longer than the model reads, first: {told[0]}")
    with Progress(f"scoring with {scorer.name}", enabled=process_rank() == 0) as progress:
        found = score_pairs(
            scorer,
            table.pairs,
            out.parent / ".work" if work is None else work,
            file=table.source,
            wait=process_rank() == 0,
            on_progress=progress.follow,
        )
    if found is None:  # the first process writes
        return
    write_pairs(out, table, found, run_facts(table, scorer))
    _report(out, table, found)
    raise typer.Exit(1 if found.errors or table.refused else 0)


def read_table(
    source: Path,
    text: list[str] | None,
    texts: Path | None,
    root: Path | None,
    video_column: str | None,
    text_column: str | None,
) -> "PairTable":
    """The pairs that the options name; see `score`.

    Raises:
        SynvitaError: as of `pair_tables.read_pairs`.
    """
    from ..pair_scores.tables import read_pairs, read_texts

    given = [*(text or ()), *([] if texts is None else read_texts(texts))]
    return read_pairs(
        source, texts=given or None, root=root, video_column=video_column, text_column=text_column
    )


def is_vqascore(model: str, revision: str | None, score: str | None, whole_video: bool) -> bool:
    """Whether the options ask for VQAScore: by name, or because the model gives nothing else."""
    from synvita_data.builders.vqascore.models import is_vqa_only

    if score is not None or whole_video:
        return True
    return model != "chance" and is_vqa_only(model, revision)


def open_model(
    model: str, loading: ScorerOptions, seed: int, score: str | None, whole_video: bool
) -> "Scorer":
    """The scorer that the options ask for; see `score`.

    Raises:
        SynvitaError: the model cannot be loaded, or an option is not for it.
    """
    from ..extras import require
    from ..scoring.open import BASELINES

    if model not in BASELINES:
        require("score", "torch", "transformers", what=f"scoring with {model}")
    if not is_vqascore(model, loading.revision, score, whole_video):
        # The released code mirrors rows of its own files; here there are none.
        mirrored = loading if loading.mode == "clean" else replace(loading, flips="none")
        return mirrored.open(model, seed=seed)
    from synvita_data.builders.vqascore import VqaSettings, default_dtype, find_model
    from synvita_data.builders.vqascore.pairs import VqaPairScorer

    from ..errors import SynvitaError

    if named := loading.given(name for name in SCORER_OPTIONS if name not in _VQA_OPTIONS):
        raise SynvitaError(
            "these options are not for VQAScore", file=model, found=", ".join(named), fix="Leave them out"
        )
    device = loading.device
    settings = VqaSettings(
        frames=VqaSettings().frames.changed(**loading.policy),
        preprocessing=loading.preprocess or "reference",
        dtype=loading.dtype or default_dtype(None if device is None else [device]),
        threads=loading.workers,
        placeholder_space=loading.placeholder_space,
    )
    found = find_model(model, loading.revision, whole_video=whole_video)
    return VqaPairScorer(found, settings, score=score, device=device)


def _check_any_video(table: "PairTable") -> None:
    """Complain where none of the videos is there: the wrong root, most likely."""
    from ..errors import MissingVideoError

    if not any(isinstance(pair.video, Path) and pair.video.exists() for pair in table.pairs):
        first = table.pairs[0]
        raise MissingVideoError(
            "none of the videos is there",
            file=table.source,
            row=first.row,
            found=f"no file {first.name} in {table.root}",
            fix="Name the folder that the paths are relative to with --root",
        )


def _say(line: str) -> None:
    from ..display import Terminal

    Terminal().line(line, style="yellow")


def _report(out: Path, table: "PairTable", found: "PairScores") -> None:
    from ..display import Terminal
    from ..pair_scores.output import reason_of

    terminal, count = Terminal(), len(table.pairs)
    reused = f", {found.reused:,} of them scored before" if found.reused else ""
    terminal.line(
        ("bold", f"{count - len(found.errors):,} of {count:,} rows scored"),
        f" · {found.model} · {found.kind} · {counted(found.videos, 'videos')}{reused} · {table.used}",
    )
    if found.texts_cut:
        _say(
            f"{counted(found.texts_cut, 'texts')} of videos are longer than the model reads: their ends were cut"
        )
    for place, error in list(found.errors.items())[:_SHOWN]:
        row: Any = table.rows[place]
        named = f" ({row['id']})" if row.get("id") not in (None, "") else ""
        terminal.line(
            ("yellow", f"row {place}{named}:"), f" {table.pairs[place].name}: {reason_of(error, table.root)}"
        )
    if len(found.errors) > _SHOWN:
        terminal.line(f"… and {counted(len(found.errors) - _SHOWN, 'more rows')}, see the column error")
    for refused in table.refused[:_SHOWN]:
        terminal.line(("yellow", "not scored:"), f" {refused}")
    terminal.line(str(out), style="dim")
