"""`synvita errors`: what a model got most wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..evaluation.mistakes import Mistake, Mistakes


def errors(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT",
            help="Result file, RESULTS/MODEL/TASK.json, with its score table (.parquet) beside it.",
        ),
    ],
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Annotations of the task, as for synvita evaluate; only ranked captions (SSv2) can do without.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Declaration of the result's task (.yaml), where it is not one of ours."
        ),
    ] = None,
    real_root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the benchmark's videos, for the frames on the page."),
    ] = None,
    real_mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File that says which file is which video (docs/dataset.md)."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="Show this many, the most wrong first.", min=1)] = 20,
    misalignment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show only this misalignment, type of question or the like."),
    ] = None,
    jsonl: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write them as JSON lines; - prints only that.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one page with frames; it may not be published."),
    ] = None,
) -> None:
    """Show what a model got most wrong: both texts, their scores, and how far apart they are."""
    from ..display import Terminal, print_error, write
    from ..errors import SynvitaError
    from ..evaluation.mistakes import read_mistakes
    from ..evaluation.mistakes_page import NOTICE, facts, nothing_wrong
    from ..files import write_atomic
    from ..tasks import get_task

    if real_root is None and real_mapping is not None:
        raise SynvitaError("--real-mapping is for --real-root", fix="Give the folder of the videos as well")
    if real_root is not None and html is None:
        raise SynvitaError("--real-root is for --html", fix="Name the page with --html FILE")
    found = read_mistakes(
        result, annotations, task=None if task is None else get_task(task), only=misalignment
    )
    if jsonl is not None:
        text = "".join(f"{line}\n" for line in _lines(found, top))
        if jsonl == "-":
            write(text)
        else:
            write_atomic(Path(jsonl), text)
    if html is not None:
        _write_page(found, top, html, real_root, real_mapping)
    if jsonl != "-":
        terminal = Terminal()
        for name, value in facts(found, top).items():
            terminal.line(("dim", f"{name}: "), value)
        if len(found):
            terminal.show(render(found, top))
        else:
            terminal.line(nothing_wrong(found), style="green")
    for place in (jsonl, html):
        if place is not None and place != "-":
            print_error(f"written: {place}", "")
    if html is not None and real_root is not None:
        print_error(NOTICE, "yellow")


def _lines(mistakes: "Mistakes", top: int) -> "Any":
    """The mistakes as JSON, a line each."""
    from ..display import json_text
    from ..evaluation.mistakes import to_record

    for mistake in mistakes.worst(top):
        yield json_text(to_record(mistake, mistakes), allow_nan=False)


def _write_page(
    mistakes: "Mistakes", top: int, path: Path, real_root: Path | None, real_mapping: Path | None
) -> None:
    from ..evaluation.mistakes_frames import VideoFrames
    from ..evaluation.mistakes_page import page
    from ..files import atomic_path

    frames = None
    if real_root is not None:
        shown = {side.video.video_id for mistake in mistakes.worst(top) for side in mistake.sides}
        indices = mistakes.frame_indices(shown)
        frames = VideoFrames(real_root, real_mapping, source=mistakes.task.source, indices=indices)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(page(mistakes, top, frames))


def render(mistakes: "Mistakes", top: int) -> "RenderableType":
    """The table for a terminal: of each mistake its most telling texts."""
    from rich import box
    from rich.table import Table

    from ..display import cell
    from ..evaluation.mistakes_page import measure_text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_lines=True)
    table.add_column("#", justify="right")
    table.add_column(cell(mistakes.by), justify="right")
    table.add_column("video, texts", overflow="fold")
    for mistake in mistakes.worst(top):
        table.add_row(
            str(mistake.place),
            measure_text(mistake, mistakes),
            _texts(mistake, mistakes.judged.first, mistakes.unit),
        )
    return table


def _texts(mistake: "Mistake", first: int, unit: str) -> Any:
    """Video and tags, then a line for each of the first sides."""
    from rich.text import Text

    from ..display import cell
    from ..evaluation.mistakes_page import score_text

    one_video = len({side.video.video_id for side in mistake.sides}) == 1
    one_text = len({side.text for side in mistake.sides}) == 1 and not one_video
    head = [mistake.sides[0].text] if one_text else []
    head += [mistake.group] if not one_text and not one_video else []
    head += [mistake.sides[0].video.video_id] if one_video else []
    head += [value if isinstance(value, str) else f"{name}: {value}" for name, value in mistake.tags.items()]
    head += [mistake.note] if mistake.note else []
    lines = [cell(" · ".join(head), "bold" if one_text else "dim")]
    for side in mistake.sides[:first]:
        place = "" if side.rank is None else f", rank {side.rank:,}"
        what = (
            side.video.video_id
            if one_text
            else side.text
            if one_video
            else f"{side.video.video_id}: {side.text}"
        )
        style = "green" if side.right else "red"
        lines.append(cell(f"{side.role} {score_text(side.score, unit)}{place}  ", style) + cell(what))
    return Text("\n").join(lines)
