"""What the commands need that run no model: inspect, annotations, convert, leaderboard, demo, and any command's folders."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import SynvitaError
from ..leaderboard.table import read_results
from ..tasks import get_task
from .data import find_data
from .hub import HubQuestions
from .inputs import annotation_checks, folder_check, writable_check
from .machine import Machine, disk_checks, missing_packages
from .report import Check, Needs, size
from .weights import WEIGHTS, missing_shards, read_weight_files

_DEMO_BYTES = 100_000_000  # clips, dataset, a tiny model and its checkpoints: an upper bound


def inspection_needs(
    dataset: str,
    configs: Sequence[str],
    splits: Sequence[str],
    revision: str | None,
    figures: Path | None,
    *,
    hub: HubQuestions,
) -> Needs:
    """What `synvita inspect` needs.

    Args:
        dataset: folder or Hub id.
        configs: to show; empty for all.
        splits: to show; empty for all.
        revision: on the Hub.
        figures: folder for figures; None for the dataset's own.
        hub: asks.
    """
    needs = Needs("inspect")
    asked: Sequence[str | None] = configs or [None]
    for config in asked:
        find_data(needs, dataset, config=config, revision=revision, splits=splits, hub=hub)
    here = Path(dataset).expanduser()
    place = figures or (here / "figures" if here.is_dir() else Path())
    needs.checks.append(
        writable_check(place, "figures") or Check("ok", "figures", f"figures go into {place}")
    )
    return needs


def annotation_needs(tasks: Sequence[str], files: Path, out: Path) -> Needs:
    """What `synvita annotations` needs.

    Args:
        tasks: names of benchmarks.
        files: annotation file, or a folder of them.
        out: dataset folder to make.
    """
    needs = Needs("annotations")
    for name in dict.fromkeys(tasks):
        try:
            annotation_checks(get_task(name), files, needs.checks)
        except SynvitaError as error:
            needs.failed("task", error)
    needs.checks.append(writable_check(out) or Check("ok", "out", f"the dataset goes into {out}"))
    return needs


def conversion_needs(kind: str, source: Path, out: Path, base: Path | None, machine: Machine) -> Needs:
    """What `synvita convert` needs.

    Args:
        kind: of checkpoint.
        source: its folder.
        out: folder to make, which must not exist.
        base: the converted model that an adapter belongs to.
        machine: this one.
    """
    needs = Needs("convert")
    needs.checks.append(folder_check(source, "source", f"the checkpoint ({kind})"))
    stored = _checkpoint(needs, source.expanduser()) if source.expanduser().is_dir() else 0
    if kind.endswith("lora") and base is None:
        needs.bad("base", "no base is named", "Name the converted model that it was trained from with --base")
    elif base is not None:
        needs.checks.append(folder_check(base, "base", "the base"))
    if missing := missing_packages("score"):
        needs.bad("packages", f"not installed: {', '.join(missing)}", 'pip install "synvita-data[score]"')
    if out.expanduser().exists() and any(out.expanduser().iterdir() if out.expanduser().is_dir() else [out]):
        needs.bad("out", f"{out} exists already", "Name a folder that does not exist")
    else:
        needs.checks.append(writable_check(out) or Check("ok", "out", f"the result goes into {out}"))
    if machine.ram is not None and stored > machine.ram:
        needs.warn("memory", f"the checkpoint has {size(stored)}, main memory {size(machine.ram)}")
    needs.add(disk_checks([("for the converted checkpoint, at most", out, stored)]))
    return needs


def _checkpoint(needs: Needs, source: Path) -> int:
    """Whether a released checkpoint is whole; bytes of its weights."""
    # A trainer's folder may hold them one level down.
    files = [
        path for path in [*source.iterdir(), *source.glob("*/*")] if path.suffix in WEIGHTS and path.is_file()
    ]
    if not files:
        names = ", ".join(sorted(path.name for path in source.iterdir())[:5]) or "nothing"
        needs.bad("source", f"{source} holds no weights (found: {names})", "Download the checkpoint whole")
        return 0
    faults = read_weight_files(files).faults
    missing = missing_shards(path.relative_to(source).as_posix() for path in files)
    for fault in [*(f"{shard} is missing" for shard in missing), *faults]:
        needs.bad("source", fault, "Download the checkpoint again")
    stored = sum(path.stat().st_size for path in files)
    needs.ok("source", f"{size(stored)} in {len(files)} files of weights")
    return stored


def leaderboard_needs(results: Path, outputs: Sequence[Path]) -> Needs:
    """What `synvita leaderboard` needs.

    Args:
        results: folder of results.
        outputs: files to write.
    """
    needs = Needs("leaderboard")
    broken: list[SynvitaError] = []
    try:
        found = read_results(results, on_broken=broken.append)
    except SynvitaError as error:
        needs.failed("results", error)
    else:
        text = f"{len(found)} results in {results}"
        needs.ok("results", text)
        needs.add(Check("warn", "results", str(error)) for error in broken[:3])
    for file in outputs:
        needs.checks.append(writable_check(file.parent) or Check("ok", "out", f"{file} is written"))
    return needs


def demo_needs(out: Path, train: bool) -> Needs:
    """What `synvita demo` needs.

    Args:
        out: folder for everything.
        train: whether a tiny model is fine-tuned too.
    """
    needs = Needs("demo")
    if train and (missing := missing_packages("train")):
        fix = 'pip install "synvita-data[train]"'
        needs.warn("packages", f"not installed: {', '.join(missing)}; the last step is left out", fix)
    needs.checks.append(writable_check(out) or Check("ok", "out", f"clips and dataset go into {out}"))
    needs.add(disk_checks([("at most", out, _DEMO_BYTES)]))
    return needs
