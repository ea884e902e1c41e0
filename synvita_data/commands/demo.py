"""`synvita demo`: the main job from nothing to a loaded dataset, on the shapes world."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

CONFIG = "shapes"


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for clips and dataset.")] = Path("demo"),
    pairs: Annotated[int, typer.Option(help="Pairs of captions to render.", min=35)] = 70,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
) -> None:
    """Render clips of moving shapes, build a dataset from them, load it and look at it. Needs nothing."""
    import time

    from rich.console import Console

    from synvita_data.builders.build import BuildOptions, build_dataset
    from synvita_data.builders.shapes import make_shapes

    from .build import print_result
    from .inspect import inspect

    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()
    console.print(f"[bold]1. Render[/] {pairs} pairs of clips with captions, contrast captions and scores")
    world = make_shapes(out / "world", pairs=pairs, seed=seed)
    commands = (
        f"synvita build --triplets {world.triplets} --vqascores {world.vqascores} "
        f"--synthetic folder:{world.synthetic} --real-root {world.real} --config {CONFIG} --out {out / 'dataset'}"
    )
    console.print(f"\n[bold]2. Build[/]  {commands}", style="dim")
    began = time.monotonic()
    result = build_dataset(
        BuildOptions(
            triplets=world.triplets,
            vqascores=world.vqascores,
            synthetic=f"folder:{world.synthetic}",
            real_root=world.real,
            config=CONFIG,
            out=out / "dataset",
        )
    )
    print_result(console, result, time.monotonic() - began)

    console.print(
        f'\n[bold]3. Load[/]   load_triplets("{result.out}", real_root="{world.real}")', style="dim"
    )
    _show_rows(console, result.out, world.real, out / "cache")

    console.print(f"\n[bold]4. Look[/]   synvita inspect {result.out}", style="dim")
    inspect(str(result.out))
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")


def _show_rows(console: "Console", dataset: Path, real_root: Path, cache: Path) -> None:
    import datasets
    from rich.markup import escape

    from ..dataset import load_triplets, real_coverage

    datasets.disable_progress_bars()
    # An absolute path: "demo/dataset" could be a repository of the Hub as well.
    loaded = load_triplets(dataset.resolve(), CONFIG, real_root=real_root, cache_dir=cache)
    console.print(f"{ {name: split.num_rows for name, split in loaded.items()} }, {real_coverage(loaded)}")
    row = loaded["train"][0]
    kept = escape(_marked(row["caption"], row["shared"]["caption"]))
    contrast = escape(_marked(row["neg_caption"], row["shared"]["neg_caption"]))
    size = len(row["synthetic_video"]["bytes"])
    console.print(f"  caption           {kept}")
    console.print(f"  contrast caption  {contrast}    (brackets: what the masks hide)")
    console.print(f"  synthetic video   {size:,} bytes of mp4, weight {row['weight']:.3f}")


def _marked(caption: str, shared: list[list[int]]) -> str:
    """The caption with its hidden parts in brackets."""
    from ..captions import hidden_spans

    text = caption
    for start, end in reversed(hidden_spans(caption, [(a, b) for a, b in shared])):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text
