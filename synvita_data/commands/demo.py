"""`synvita demo`: the main job from nothing to a loaded dataset, on the shapes world."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..display import Terminal

CONFIG = "shapes"


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for clips and dataset.")] = Path("demo"),
    pairs: Annotated[int, typer.Option(help="Pairs of captions to render.", min=35)] = 70,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
    fine_tune: Annotated[
        bool, typer.Option("--train/--no-train", help="Fine-tune a tiny Video-LLaVA on it, about a minute.")
    ] = True,
) -> None:
    """Render clips of moving shapes, build a dataset, load it, look at it, fine-tune a model on it. Needs nothing."""
    import time

    from synvita_data.builders.dataset import BuildOptions, build_dataset
    from synvita_data.builders.shapes import make_shapes

    from ..display import Terminal
    from .build import print_result
    from .inspect import inspect

    terminal = Terminal()
    started = time.monotonic()
    terminal.line(
        ("bold", "1. Render"), f" {pairs} pairs of clips with captions, contrast captions and scores"
    )
    world = make_shapes(out / "world", pairs=pairs, seed=seed)
    commands = (
        f"synvita build --triplets {world.triplets} --vqascores {world.vqascores} "
        f"--synthetic folder:{world.synthetic} --real-root {world.real} --config {CONFIG} --out {out / 'dataset'}"
    )
    _step(terminal, "2. Build", f"  {commands}")
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
    print_result(terminal, result, time.monotonic() - began)

    _step(terminal, "3. Load", f'   load_triplets("{result.out}", real_root="{world.real}")')
    _show_rows(terminal, result.out, world.real, out / "cache")

    _step(terminal, "4. Look", f"   synvita inspect {result.out}")
    inspect(str(result.out))
    if fine_tune:
        _train(terminal, out, result.out, world.real, seed)
    terminal.line()
    terminal.line(f"Done in {time.monotonic() - started:.0f} s.")


def _step(terminal: "Terminal", title: str, command: str) -> None:
    terminal.line()
    terminal.line(("bold", title), command, style="dim")


def _show_rows(terminal: "Terminal", dataset: Path, real_root: Path, cache: Path) -> None:
    import datasets

    from ..dataset.load import load_triplets, real_coverage

    datasets.disable_progress_bars()
    # An absolute path: "demo/dataset" could be a repository of the Hub as well.
    loaded = load_triplets(dataset.resolve(), CONFIG, real_root=real_root, cache_dir=cache)
    terminal.line(f"{ {name: split.num_rows for name, split in loaded.items()} }, {real_coverage(loaded)}")
    row = loaded["train"][0]
    kept = _marked(row["caption"], row["shared"]["caption"])
    contrast = _marked(row["neg_caption"], row["shared"]["neg_caption"])
    size = len(row["synthetic_video"]["bytes"])
    terminal.line(f"  caption           {kept}")
    terminal.line(f"  contrast caption  {contrast}    (brackets: what the masks hide)")
    terminal.line(f"  synthetic video   {size:,} bytes of mp4, weight {row['weight']:.3f}")


def _marked(caption: str, shared: list[list[int]]) -> str:
    """The caption with its hidden parts in brackets."""
    from ..captions import hidden_spans

    text = caption
    for start, end in reversed(hidden_spans(caption, [(a, b) for a, b in shared])):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def _train(terminal: "Terminal", out: Path, dataset: Path, real_root: Path, seed: int) -> None:
    """A short fine-tune by a recipe, measured before and after on rows it trains on and on rows it does not."""
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("transformers") is None:
        _step(terminal, "5. Train", '  left out: needs pip install "synvita-data[train]"')
        return
    import shutil

    from synvita_data.training.run import open_recipe, prepare, train

    from ..testing import make_tiny

    folder = out / "fine-tune"
    for earlier in (folder, out / "model"):  # of an earlier demo
        shutil.rmtree(earlier, ignore_errors=True)
    changes = [
        f"model={out / 'model'}",
        f"data={dataset.resolve()}",
        f"real_root={real_root}",
        f"output_dir={folder}",
        f"seed={seed}",
    ]
    command = f"synvita train shapes/tiny {' '.join(changes)}"
    _step(terminal, "5. Train", f"  {command}")
    with _quiet():
        make_tiny(
            "video_llava", out / "model", seed=seed, hidden_size=64, intermediate_size=128, vision_layers=1
        )
        run = prepare(open_recipe("shapes/tiny", [*changes, "disable_tqdm=true"]), lambda line: None)
        trained = [run.trainer.evaluate(run.triplets, metric_key_prefix="trained")]
    terminal.line(
        f"{len(run.triplets)} triplets, {run.config.max_steps} steps of {run.config.train_batch_size}, a tiny "
        "Video-LLaVA with random weights: about a minute"
    )
    with _quiet():
        record = train(run, lambda line: None)
        trained.append(run.trainer.evaluate(run.triplets, metric_key_prefix="trained"))
    held_out = [record["evaluations"][0], record["evaluations"][-1]]
    terminal.line("  entailment AUC (50 is chance)    before   after")
    for name, values, key in (
        (f"{len(run.triplets)} rows it was trained on", trained, "trained_auc"),
        (f"{len(run.trainer.eval_dataset)} held-out rows", held_out, "eval_auc"),
    ):
        terminal.line(f"  {name:<31}{values[0][key]:8.1f}{values[1][key]:8.1f}")
    terminal.line(
        f"  f of true and contrast captions, real clips: {_f(trained[0])} before, {_f(trained[1])} after"
    )
    terminal.line(f"Saved in {folder}; its card: {folder / 'README.md'}")


def _f(measures: dict[str, float]) -> str:
    return " and ".join(f"{measures[f'trained_f/real/{text}']:.2f}" for text in ("caption", "neg_caption"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars, log lines and warnings of the libraries: the demo says what matters itself."""
    import contextlib
    import io
    import warnings

    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(before)
        transformers.logging.enable_progress_bar()
