"""What the commands need that run no model: inspect, annotations, convert, leaderboard, verify, submit, compare, errors,
export, demo.

Each takes `given`, the command's parameters by name.
"""

from pathlib import Path
from typing import Any

from ..comparison.scored import find_results
from ..display import counted
from ..errors import SynvitaError
from ..evaluation.results import read_result
from ..evaluation.scored import ScoredResult, read_scored, task_of
from ..leaderboard.table import read_results
from ..tasks import get_task
from .data import find_data
from .hub import is_repository_name
from .inputs import add_annotations, add_file, add_folder, add_output
from .models import add_repository
from .report import Needs, size, some
from .repository import look_at
from .wanted import WEIGHTS, missing_shards, read_weight_files

_DEMO_BYTES = 100_000_000  # clips, dataset, a tiny model and its checkpoints: an upper bound
_STUDY_BYTES = 2_000_000_000  # worlds and features of ten seeds


def inspection_needs(given: Any, needs: Needs) -> None:
    """What `synvita inspect` needs."""
    for config in given.config or [None]:
        find_data(needs, given.dataset, config=config, revision=given.revision, splits=given.split or ())
    here = Path(given.dataset).expanduser()
    place = given.figures or (here / "figures" if here.is_dir() else Path())
    add_output(needs, place, f"figures go into {place}", "figures")


def annotation_needs(given: Any, needs: Needs) -> None:
    """What `synvita annotations` needs."""
    add_annotations(needs, given.task, given.files)
    add_output(needs, given.out, f"the dataset goes into {given.out}")


def conversion_needs(given: Any, needs: Needs) -> None:
    """What `synvita convert` needs."""
    kind, source, out, base = given.kind, given.source.expanduser(), given.out, given.base
    stored = 0
    if add_folder(needs, source, "source", f"the checkpoint ({kind})"):
        stored = _checkpoint(needs, source)
    if given.towers is not None:
        add_folder(needs, given.towers, "towers", "the video tower")
    if base is not None and kind == "video-llava-lora" and not Path(base).expanduser().exists():
        add_repository(needs, look_at(base, hub=needs.hub), "base")
    elif base is not None:
        add_folder(needs, Path(base), "base", "the base")
    elif kind.endswith("lora"):
        needs.bad("base", "no base is named", "Name the converted model that it was trained from with --base")
    needs.packages("score")
    place = out.expanduser()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        needs.bad("out", f"{out} exists already", "Name a folder that does not exist")
    else:
        add_output(needs, out, f"the result goes into {out}")
    ram = needs.machine.ram
    if ram is not None and stored > ram:
        needs.warn("memory", f"the checkpoint has {size(stored)}, main memory {size(ram)}")
    needs.disk(("for the converted checkpoint, at most", out, stored))


def _checkpoint(needs: Needs, source: Path) -> int:
    """Whether a released checkpoint is whole; bytes of its weights."""
    # A trainer's folder may hold them one level down.
    there = [*source.iterdir(), *source.glob("*/*")]
    files = [path for path in there if path.suffix in WEIGHTS and path.is_file()]
    if not files:
        names = some(sorted(path.name for path in source.iterdir()), 5) or "nothing"
        needs.bad("source", f"{source} holds no weights (found: {names})", "Download the checkpoint whole")
        return 0
    missing = missing_shards(path.relative_to(source).as_posix() for path in files)
    for fault in [*(f"{shard} is missing" for shard in missing), *read_weight_files(files).faults]:
        needs.bad("source", fault, "Download the checkpoint again")
    stored = sum(path.stat().st_size for path in files)
    needs.ok("source", f"{size(stored)} in {len(files)} files of weights")
    return stored


def leaderboard_needs(given: Any, needs: Needs) -> None:
    """What `synvita leaderboard` needs."""
    if given.space is not None:
        return add_output(needs, given.space, f"a Space is written into {given.space}")
    if given.serve:
        needs.packages("leaderboard")
    _add_results(needs, given.results)
    _add_files(needs, given.markdown, given.json_file, given.csv_file, given.latex, given.html)


def verification_needs(given: Any, needs: Needs) -> None:
    """What `synvita verify` needs: results here or on the Hub, and annotations, without which nothing is verified."""
    if given.place is not None:
        if is_repository_name(given.place) and not Path(given.place).exists():
            add_repository(needs, look_at(given.place, kind="dataset", hub=needs.hub), "results")
        else:
            _add_results(needs, Path(given.place))
    _add_annotations(needs, given.annotations)
    if given.comment and not needs.hub.has_token:
        needs.bad("token", "no token for the Hub is set", "Set HF_TOKEN, or run `hf auth login`")
    _add_files(needs, given.json_file, given.markdown)


def submission_needs(given: Any, needs: Needs) -> None:
    """What `synvita submit` needs; nothing is sent."""
    if given.workflow is not None:
        return add_output(needs, given.workflow, f"a workflow is written below {given.workflow}")
    _add_results(needs, given.results)
    _add_annotations(needs, given.annotations)
    if given.training_record is not None:
        add_file(needs, given.training_record, "training record", "the fine-tune's record")
    add_repository(needs, look_at(given.repo, kind="dataset", hub=needs.hub), "repository")
    if not given.dry_run and not needs.hub.has_token:
        needs.bad("token", "no token for the Hub is set", "Set HF_TOKEN, or run `hf auth login`")


def _add_results(needs: Needs, place: Path) -> None:
    """Results of a folder, or of one file."""
    broken: list[SynvitaError] = []
    try:
        found = [read_result(place)] if place.is_file() else read_results(place, on_broken=broken.append)
    except SynvitaError as error:
        needs.failed("results", error)
    else:
        needs.ok("results", f"{counted(len(found), 'results')} in {place}")
        for each in broken[:3]:
            needs.failed("results", each, "warn")


def _add_annotations(needs: Needs, place: str | None) -> None:
    """Annotations to verify with: a path, or a dataset repository."""
    if place is None:
        needs.warn("annotations", "without annotations nothing is verified", "Name them with --annotations")
    elif is_repository_name(place) and not Path(place).exists():
        add_repository(needs, look_at(place, kind="dataset", hub=needs.hub), "annotations")
    elif Path(place).is_file():
        add_file(needs, Path(place), "annotations", "the task's annotations")
    else:
        add_folder(needs, Path(place), "annotations", "the tasks' annotations")


def comparison_needs(given: Any, needs: Needs) -> None:
    """What `synvita compare` needs: results of both, and annotations where some are named."""
    found: list[dict[str, Path]] = []
    for place in (given.a, given.b):
        try:
            found.append(find_results(place, given.results))
        except SynvitaError as error:
            needs.failed("results", error)
    if len(found) == 2:
        both = sorted(found[0].keys() & found[1].keys()) or [stem for own in found for stem in own]
        needs.ok("results", f"of {given.a} and {given.b}: {some(both)}")
        for name in both:
            for own in found:
                if name in own:
                    _add_result(needs, own[name])
    if given.annotations is not None and given.task:
        add_annotations(needs, given.task, given.annotations)
    _add_files(needs, given.json_file, given.plot)


def mistake_needs(given: Any, needs: Needs) -> None:
    """What `synvita errors` needs: the result, its annotations, and videos for the frames of a page."""
    result = _add_result(needs, given.result)
    if given.annotations is not None and result is not None:
        try:
            asked = [] if given.task is None else [get_task(given.task)]
            task = task_of(result, {each.name: each for each in asked}, given.annotations)
        except SynvitaError as error:
            needs.failed("task", error)
        else:
            add_annotations(needs, [task], given.annotations)
    if given.real_root is not None:
        add_folder(needs, given.real_root, "videos", "real videos")
    if given.real_mapping is not None:
        add_file(needs, given.real_mapping, "videos", "which file is which video")
    _add_files(needs, given.jsonl, given.html)


def export_needs(given: Any, needs: Needs) -> None:
    """What `synvita export` needs: the dataset, folders of videos, and a folder that does not exist yet."""
    find_data(needs, given.dataset, config=given.config, revision=given.revision, splits=given.split or ())
    for folder, what in ((given.real_root, "real videos"), (given.synthetic_root, "synthetic videos")):
        if folder is not None:
            add_folder(needs, folder, "videos", what)
    if given.mapping is not None:
        add_file(needs, given.mapping, "videos", "which file is which video")
    if given.out.exists():
        needs.bad("out", f"{given.out} exists", "Name a folder that does not exist")
    else:
        add_output(needs, given.out, f"the samples go into {given.out}")


def _add_result(needs: Needs, file: Path) -> ScoredResult | None:
    """Add whether a result can be read and has its own score table beside it."""
    try:
        return read_scored(file)
    except SynvitaError as error:
        needs.failed("results", error)
        return None


def _add_files(needs: Needs, *files: Path | str | None) -> None:
    """Add whether files can be written; `-` is standard output."""
    for file in files:
        if file is not None and str(file) != "-":
            add_output(needs, Path(file).parent, f"{file} is written")


def study_needs(given: Any, needs: Needs) -> None:
    """What `synvita study` needs."""
    if not given.list_ and given.report is None:
        needs.packages("train")
    add_output(needs, given.out, f"worlds, cells and results go into {given.out}")
    needs.disk(("at most", given.out, _STUDY_BYTES))


def demo_needs(given: Any, needs: Needs) -> None:
    """What `synvita demo` needs."""
    if given.fine_tune:
        needs.packages("train", "warn", "; the last step is left out")
    add_output(needs, given.out, f"clips and dataset go into {given.out}")
    needs.disk(("at most", given.out, _DEMO_BYTES))
