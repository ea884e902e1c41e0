"""`synvita videos check`: are the real videos that a benchmark, a build or a training needs here, and sound?"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import counted

if TYPE_CHECKING:
    from ..display import Terminal
    from ..real_videos.check import CheckedVideo, NeededVideo, VideoCheck

videos = typer.Typer(
    name="videos", help="Real videos: what is needed, and what is there.", no_args_is_help=True
)
# How many videos of each kind are named on the terminal.
_SHOWN = 3


class Decode(StrEnum):
    """How far found files are read."""

    none = "none"
    first = "first"
    all = "all"


@videos.callback()
def _root() -> None:
    """Real videos: what is needed, and what is there (docs/videos.md)."""


@videos.command()
def check(
    real_root: Annotated[Path, typer.Option(metavar="DIR", help="Folder of real videos.")],
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Check for benchmarks: annotation file, or a folder that holds several."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="Benchmark of --annotations, or the YAML file of your own; repeat for several. Default: all that PATH holds, "
            "by its files' names.",
        ),
    ] = None,
    triplets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Check for a build: VideoCon's CSVs, a training CSV of SynViTA's authors, or any CSV, JSONL or Parquet "
            "of triplets.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="DIR_OR_REPO", help="Check for training: a built dataset, in a folder or on the Hub."
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Config of --dataset. Default: the dataset's own default.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Only rows of this split of --triplets or --dataset; repeat for several.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Source of rows of --triplets that do not name theirs.")
    ] = None,
    real_mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File that says which file is which video (docs/dataset.md)."),
    ] = None,
    decode: Annotated[
        Decode,
        typer.Option(
            help="Read what is found: none (names, sizes and lengths only), first (all packets and the first frame) or "
            "all (every frame)."
        ),
    ] = Decode.none,
    workers: Annotated[int, typer.Option(help="Number of threads that read videos.", min=1)] = 4,
    missing: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a CSV of the videos that are not usable, with addresses and times, for a downloader.",
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write counts and examples as JSON.")
    ] = None,
) -> None:
    """Count the real videos that are needed, found, missing, ambiguous, too short or unreadable.

    Ends with status 0 when all are there, 1 when something is missing or broken, 2 when it cannot be told.
    """
    from ..display import Terminal, json_text
    from ..errors import SynvitaError, choose
    from ..files import write_atomic
    from ..progress import Progress
    from ..real_videos.check import check_real_videos, write_missing

    # Complain about the options before long work.
    given = {"--annotations": annotations, "--triplets": triplets, "--dataset": dataset}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise SynvitaError(
            "give one of --annotations, --triplets and --dataset", found=" and ".join(named) or "none of them"
        )
    for name, value, belongs_to in (
        ("--task", task, ("--annotations",)),
        ("--config", config, ("--dataset",)),
        ("--split", split, ("--triplets", "--dataset")),
        ("--source", source, ("--triplets",)),
    ):
        if value and named[0] not in belongs_to:
            raise SynvitaError(f"{name} is for {' and '.join(belongs_to)}", found=f"{name} with {named[0]}")
    for file in (missing, json):
        if file is not None and file.is_dir():
            raise SynvitaError("an output file is a folder", file=file, fix="Name a file")

    # What is needed, by benchmark (or under no name).
    terminal = Terminal()
    wanted: dict[str, list[NeededVideo]] = {}
    if annotations is not None:
        wanted = _of_annotations(annotations, task or [])
    elif triplets is not None:
        wanted[""] = _of_triplets(triplets, split or [], source, terminal)
    else:
        from ..dataset.built import open_dataset

        assert dataset is not None
        opened = open_dataset(dataset)
        name = opened.config_or_default(config)
        for each in split or []:
            choose(each, sorted(opened.configs[name]), "split", fix="Leave --split out to check all")
        wanted[""] = opened.needed_videos(name, split or sorted(opened.configs[name]))

    with Progress("look for videos") as progress:
        result = check_real_videos(
            [video for videos in wanted.values() for video in videos],
            real_root,
            real_mapping,
            decode=decode.value,
            workers=workers,
            on_progress=lambda title, done, total: progress.at(done, total, title),
        )

    _report(result, wanted, terminal)
    if missing is not None:
        count = write_missing(result, missing)
        terminal.line(f"{missing}: {counted(count, 'videos')} to fetch or mend", style="dim")
    if json is not None:
        record = result.to_record() | {"tasks": _by_task(result, wanted)}
        write_atomic(json, json_text(record, indent=1) + "\n")
    raise typer.Exit(0 if result.complete else 1)


def _of_annotations(path: Path, names: Sequence[str]) -> "dict[str, list[NeededVideo]]":
    """Task -> its videos."""
    from ..annotations import read_annotations, tasks_at
    from ..errors import SynvitaError
    from ..tasks import TASKS, get_task

    tasks = [get_task(name) for name in dict.fromkeys(names)] or tasks_at(path)
    if not tasks:
        raise SynvitaError(
            "no task is named, and no file has the name of a published one",
            file=path,
            expected=f"--task {', '.join(TASKS)}",
        )
    return {task.name: read_annotations(task, path).needed_videos(task.source) for task in tasks}


def _of_triplets(
    path: Path, splits: Sequence[str], source: str | None, terminal: "Terminal"
) -> "list[NeededVideo]":
    from synvita_data.builders.training_csv import open_triplets

    from ..errors import SynvitaError, choose
    from ..real_videos.check import needed_by_triplets
    from ..schema import SPLITS

    for split in splits:
        choose(split, SPLITS, "split")
    reader = open_triplets(path, source=source)
    needed = needed_by_triplets(triplet for triplet in reader if not splits or triplet.split in splits)
    if faults := reader.report.quarantined:
        terminal.line(
            ("yellow", f"{counted(len(faults), 'rows')} cannot be used"),
            f" and were left out, the first: {faults[0]}",
        )
    if not needed:
        raise SynvitaError("no row of the file is to be checked", file=path, found=str(reader.report))
    return needed


def _by_task(
    result: "VideoCheck", wanted: "Mapping[str, Sequence[NeededVideo]]"
) -> dict[str, dict[str, int]]:
    """Task -> how many videos it needs, and how many of them are found."""
    found = {video.needed.key for video in result.videos if video.status == "found"}
    return {
        task: {"needed": len(needed), "found": sum(video.key in found for video in needed)}
        for task, needed in wanted.items()
        if task
    }


def _report(
    result: "VideoCheck", wanted: "Mapping[str, Sequence[NeededVideo]]", terminal: "Terminal"
) -> None:
    from rich import box
    from rich.table import Table

    from ..display import cell
    from ..real_videos.check import STATUSES, count_statuses
    from ..real_videos.names import VIDEO_SUFFIXES

    terminal.line(f"{result.root} · {counted(result.files, 'video files')}", style="dim")
    if not result.files:
        terminal.line(("yellow", f"no file ends in {', '.join(VIDEO_SUFFIXES)}: are archives still packed?"))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("source", no_wrap=True)
    for heading in ("needed", *(status.replace("_", " ") for status in STATUSES)):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [*result.sources.items(), *([("all", result.videos)] if len(result.sources) > 1 else [])]
    for source, those in rows:
        if source == "all":
            table.add_section()
        counts = count_statuses(those)
        cells = [
            cell(f"{count:,}", "red" if count and status != "found" else "")
            for status, count in counts.items()
        ]
        table.add_row(cell(source), f"{len(those):,}", *cells)
    terminal.show(table)
    for task, known in _by_task(result, wanted).items():
        terminal.line(("bold", task), f" · {known['found']:,} of {known['needed']:,} videos")

    # Some of each kind by name, with the reason where one is known.
    for source, those in result.sources.items():
        for status in STATUSES[1:]:
            _name(
                f"{source} · {status.replace('_', ' ')}", [v for v in those if v.status == status], terminal
            )
        doubted = [video for video in those if video.status == "found" and video.error]
        _name(f"{source} · found, but of another length than their names say", doubted, terminal)
    for error in result.problems[:_SHOWN]:
        terminal.line(("yellow", "folder: "), str(error))
    if len(result.problems) > _SHOWN:
        terminal.line(f"… and {len(result.problems) - _SHOWN:,} more problems of the folder", style="dim")


def _name(heading: str, those: "Sequence[CheckedVideo]", terminal: "Terminal") -> None:
    """The first of these videos; those about which something is known go first."""
    if not those:
        return
    more = f" ({len(those):,}, the first {_SHOWN})" if len(those) > _SHOWN else ""
    terminal.line(("yellow", f"{heading}{more}"))
    for video in sorted(those, key=lambda video: video.error is None)[:_SHOWN]:
        needed = video.needed
        times = "".join(
            f" {word} {seconds:g} s"
            for word, seconds in (("from", needed.start), ("to", needed.end))
            if seconds is not None
        )
        reason = f": {video.error}" if video.error else ""
        terminal.line(f"  {needed.video_id}{times}{reason}")
