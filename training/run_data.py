"""The data of a run: loaded, its videos looked into or encoded, and the same on every process."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SynvitaError, VideoError

from .after_training import is_main_process
from .config import SynViTAConfig
from .data import TripletData
from .features import fill_feature_cache
from .recipe import RunOptions

if TYPE_CHECKING:
    from synvita_data.models import AlignmentModel

    from .evaluation_pairs import EvaluationPairs

_FEW = 8  # unreadable videos that are never too many, as in training
Say = Callable[[str], None]


def load_rows(options: RunOptions, config: SynViTAConfig) -> tuple[Any, Any]:
    from synvita_data.dataset.load import config_there, load_triplets

    def load(split: str) -> Any:
        return load_triplets(
            options.data,
            chosen,
            options.data_revision,
            split,
            real_root=options.real_root,
            mapping=options.real_mapping,
        )

    with config.main_process_first(desc="loading the dataset"):
        chosen = config_there(options.data, options.config, options.data_revision)
        rows = load(options.split)
        held_out = None if options.eval_split is None else load(options.eval_split)
    return rows, held_out


def fill_cache(triplets: TripletData, alignment: "AlignmentModel", config: SynViTAConfig, say: Say) -> int:
    """Every process encodes its share of the videos, on its own device; how many cannot be read, on all of them."""
    from accelerate.utils import gather_object

    home = next(alignment.parameters()).device
    alignment.to(config.device)
    report = fill_feature_cache(
        triplets,
        alignment,
        workers=max(config.dataloader_num_workers, 2),
        shard=(config.process_index, config.world_size),
    )
    alignment.to(home)
    say(
        f"Feature cache: {report.videos:,} videos, {report.found:,} were there, {report.made:,} added, "
        f"{report.not_kept:,} did not fit, {report.unreadable:,} cannot be read"
    )
    return sum(gather_object([report.unreadable]))


def look_into_videos(triplets: TripletData, config: SynViTAConfig, say: Say) -> None:
    """Set aside what cannot be read, on every process alike.

    Raises:
        VideoError: more than `max_unreadable` of the videos.
    """
    from synvita_data.progress import Progress

    before = triplets.counts["videos"]
    shown = is_main_process() and not config.disable_tqdm
    with Progress("checking videos", enabled=shown) as progress:
        bad = triplets.check_videos(workers=max(config.dataloader_num_workers, 4), on_progress=progress.at)
    say(f"{before:,} videos were looked into, {len(bad):,} cannot be read")
    if len(bad) > max(_FEW, config.max_unreadable * before):
        raise VideoError(
            f"{len(bad):,} of {before:,} videos cannot be read",
            file=triplets.name,
            found=f"first {bad[0].kind} video of row {bad[0].rows[0]}: {bad[0].error}",
            expected=f"at most {config.max_unreadable:.0%} of them",
            fix="A folder may have gone away; the warnings before name each one",
        )
    if bad:
        say(f"{len(triplets):,} triplets are left: " + counts_line(triplets.counts))


def check_held_out(held_out: "EvaluationPairs") -> None:
    """One video of the held-out rows can be read: else the first evaluation would end the run."""
    if not any(held_out[index].video is not None for index in range(len(held_out))):
        raise VideoError(
            "no video of the held-out rows can be read",
            file=held_out.name,
            found=f"{len(held_out):,} videos that cannot; the warnings before say why",
            fix="Look at real_root=DIR, or leave eval_split out",
        )


def check_all_the_same(identity: Mapping[str, Any]) -> None:
    """Processes deal out triplets by number: all must have the same ones.

    Raises:
        SynvitaError: another machine sees other data.
    """
    from accelerate.utils import gather_object

    for process, other in enumerate(gather_object([dict(identity)])):
        if other["triplets"] != identity["triplets"]:
            raise SynvitaError(
                "the processes do not have the same data",
                found=f"process {process}: {counts_line(other['counts'])}; here: {counts_line(identity['counts'])}",
                fix="Every machine needs the same dataset and the same videos (real_root=DIR)",
            )


def counts_line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if value)
