"""`synvita inspect`: look at a built dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from ..dataset.built import BuiltDataset
    from ..dataset.inspection import Inspection


def inspect(
    dataset: Annotated[str, typer.Argument(metavar="DIR_OR_REPO", help="Dataset folder or Hub repository.")],
    config: Annotated[
        list[str] | None, typer.Option("--config", help="Config to show; repeat for several. Default: all.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="Split to show; repeat for several. Default: all.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Tag, branch or commit of a Hub repository.")] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the figures (PNG, SVG). Default: DIR/figures, or here for a repository."
        ),
    ] = None,
    token: Annotated[str | None, typer.Option(help="Hub token; default: the one you logged in with.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Print rows, videos, score differences and weights per misalignment, and the text-only AUC; draw the differences."""
    from ..dataset.built import open_dataset
    from ..dataset.inspection import difference_figure, figure_name, inspect_dataset, save_figure, text_only
    from ..display import Terminal
    from ..errors import parsing
    from .options import check_json, put_json

    check_json(json_file)
    terminal = None if json_file == "-" else Terminal()
    opened = open_dataset(dataset, revision=revision, token=token)
    folder = figures or (Path(dataset) / "figures" if Path(dataset).is_dir() else Path())
    # A config that only gathers the others ("all") would repeat every row.
    names = config or [name for name in opened.configs if name != "all" or len(opened.configs) == 1]
    records: dict[str, Any] = {}
    for name in names:
        inspection = inspect_dataset(opened, name, split)
        words = text_only(opened, name, split)
        with parsing(
            f"the build report does not say of config {name} what `synvita build` writes",
            file=f"{opened.name}/build.json",
            fix="Build the dataset again, or remove the file to inspect it without",
        ):
            notes = _notes(opened, inspection)
        figure = difference_figure(inspection)
        drawn, undrawn = list[Path](), "No VQAScores in this config: no figure."
        if figure is not None:
            try:
                drawn = list(save_figure(figure, folder / figure_name(name)))
            except OSError as error:  # the dataset of somebody else, a file system that is read only
                if figures is not None:
                    raise
                undrawn = (
                    f"No figure: {error.filename}: {error.strerror}. Name a folder for it with --figures."
                )
        records[name] = {
            "default": name == opened.default,
            "splits": inspection.splits,
            "misalignments": {each.name: each.to_record() for each in inspection.summaries[:-1]},
            "all": inspection.total.to_record(),
            "text_only": words.to_record(),
            "notes": notes,
            "figures": [str(path) for path in drawn],
        }
        if terminal is None:
            continue
        terminal.show(summary_table(inspection, is_default=name == opened.default))
        terminal.line(f"Text-only AUC, without the video: {words.text()}")
        for note in notes:
            terminal.line(note, style="yellow")
        if drawn:
            terminal.line(f"Figure: {drawn[0]} and {drawn[1].name}", style="dim")
        else:
            terminal.line(undrawn, style="dim")
    put_json(json_file, {"dataset": opened.name, "configs": records})


def _notes(opened: "BuiltDataset", inspection: "Inspection") -> list[str]:
    """Whose videos the scores are of: counted in the tables, and what `build.json` adds; and of the videos themselves."""
    from synvita_data.builders.dataset.notes import (
        authors_notes,
        contrast_notes,
        prompt_notes,
        referred_note,
        score_notes,
    )

    from ..dataset.inspection import scores_by_pair, shared_scores

    config, total = inspection.config, inspection.total
    whole = set(inspection.splits) == set(opened.configs[config])  # which is what `build.json` counts
    record = opened.record(config) if whole else {}
    scores = record.get("scores") or {
        "with_video": total.scored_here,
        "without_video": total.scored - total.scored_here,
        "video_named_by": {"sha256": 0, "name": 0, "nothing": 0},
        "of_other_videos": 0,
    }
    own = scores_by_pair(opened, config)
    shared = {
        other: shared_scores(own, scores_by_pair(opened, other))
        for other in opened.configs
        if own and other not in (config, "all")
    }
    equal = {name: count for name, count in shared.items() if count}
    return [
        *(f"contrast captions: {note}" for note in contrast_notes(record)),
        *(f"scores: {note}" for note in score_notes({"scores": scores, "equal_scores": equal})),
        *(f"prompts: {note}" for note in prompt_notes(record)),
        *(f"authors' videos: {note}" for note in (*referred_note(record), *authors_notes(record))),
    ]


def summary_table(inspection: "Inspection", *, is_default: bool) -> "Table":
    """One rich row a misalignment, then the total."""
    from rich import box
    from rich.table import Table

    from ..display import cell, number

    splits = ", ".join(f"{name} {rows:,}" for name, rows in inspection.splits.items())
    default = " (default)" if is_default else ""
    table = Table(
        title=cell(f"{inspection.name} · config {inspection.config}{default} · {splits}"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        caption="difference: mean VQAScore of the contrast caption minus that of the real caption on the "
        "synthetic video; weight: mean; kept: share of the caption that both captions share",
        caption_justify="left",
    )
    table.add_column("misalignment", no_wrap=True)
    for heading in ("rows", "videos", "scored", "difference", "weight", "weight 0", "kept"):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in inspection.summaries:
        if summary.name == "all":
            table.add_section()
        difference = number(summary.difference, "+.4f")
        table.add_row(
            cell(summary.name),
            f"{summary.rows:,}",
            f"{summary.videos:,}",
            f"{summary.scored:,}",
            cell(difference, "red" if difference.startswith("-") else ""),
            number(summary.weight, ".4f"),
            number(summary.zero_weight, ".1%"),
            number(summary.kept, ".1%"),
        )
    return table
