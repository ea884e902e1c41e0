"""The first half of the chain, for a build that is given a generator and VQA models instead of ready files.

    captions → generate → score → (the build)

Both steps run on stores under the build's `.work`, so the whole chain continues where it was killed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.errors import SynvitaError
from synvita_data.jobs import JobProgress, RunOptions
from synvita_data.schema import Triplet

from ..sources import FoundVideos

if TYPE_CHECKING:
    from ..vqascore import VqaModel, VqaSettings


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What a build makes on its way.

    Attributes:
        samples: videos a contrast caption. overrides: `key=value` settings of the generator. generator_name:
            recorded for its videos; None for the model's own name.
        prompt_too_long: see `generators.generate_videos`. on_prompts: told its line about such captions.
        models: VQA models by name (`vqascore.find_model`), `NAME@REVISION` for one of the Hub; none of them
            leaves scoring out.
        settings, score: how they look at videos; see `vqascore.score_videos`.
        run: how the jobs are run.
        on_progress: see `run_job`.

    Raises:
        SynvitaError: numbers that cannot be used.
    """

    samples: int = 1
    overrides: Sequence[str] = ()
    generator_name: str | None = None
    prompt_too_long: str = "warn"
    models: Sequence[str] = ()
    settings: "VqaSettings | None" = None
    score: str | None = None
    run: RunOptions = field(default_factory=RunOptions)
    on_progress: Callable[[JobProgress], None] | None = field(default=None, compare=False)
    on_prompts: Callable[[str, int], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SynvitaError("numbers of samples start at 1", found=f"samples={self.samples}")

    @property
    def making(self) -> dict[str, Any]:
        """Arguments of `generators.generate_videos`, for a source that has to make its videos."""
        return {
            "samples": self.samples,
            "overrides": tuple(self.overrides),
            "name": self.generator_name,
            "prompt_too_long": self.prompt_too_long,
            "on_prompts": self.on_prompts,
            "run": self.run,
            "on_progress": self.on_progress,
        }


class UnscoredError(SynvitaError):
    """A row that not every model could score; its record keeps the first model's own reason."""

    def __init__(self, problem: str, *, reason: str, **details: Any) -> None:
        super().__init__(problem, **details)
        self.reason = reason

    def to_record(self) -> dict[str, Any]:
        return {**super().to_record(), "reason": self.reason}


def find_models(chain: Chain, table: Path) -> "list[VqaModel]":
    """The chain's VQA models, looked for before hours of generating.

    Raises:
        SynvitaError: no such model, or two of one name.
    """
    from ..vqascore import find_model
    from ..vqascore.run import check_models

    models = [find_model(name) for name in chain.models]
    if models:
        check_models(models, table)
    return models


def table_of(config: str, work: Path) -> Path:
    """Where a build keeps the scores that it makes."""
    return work / f"vqascores-{config}.parquet"


def score_found(
    chain: Chain,
    models: "Sequence[VqaModel]",
    triplets: Sequence[Triplet],
    found: FoundVideos,
    config: str,
    work: Path,
) -> tuple[Path, dict[str, SynvitaError]]:
    """Score the videos of a build with the chain's models.

    Returns:
        The score table, and why rows have none of a model's scores, by row id: a mean over fewer models than the
        other rows' would be another weight.

    Raises:
        SynvitaError: nothing to score, or a run that lost workers left it unfinished.
    """
    from ..vqascore import VqaSettings, default_dtype, score_videos

    settings = chain.settings or VqaSettings(dtype=default_dtype(chain.run.devices, chain.run.address))
    report = score_videos(
        triplets,
        found,
        models,
        table_of(config, work),
        work=work,
        settings=settings,
        score=chain.score,
        generator=config,
        run=chain.run,
        on_progress=chain.on_progress,
    )
    if not report.complete or report.table is None:
        raise SynvitaError(
            "not all videos are scored yet",
            file=work,
            found="; ".join(report.lines()),
            fix="Run again; what is done stays",
        )
    return report.table, _failed(work / "vqascore-quarantine.jsonl")


def _failed(path: Path) -> dict[str, SynvitaError]:
    records: dict[str, list[Mapping[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record: Mapping[str, Any] = json.loads(line)
        if record.get("stage") == "vqascore":
            records.setdefault(str(record["id"]), []).append(record)
    failed: dict[str, SynvitaError] = {}
    for row_id, own in records.items():
        first = own[0]
        failed[row_id] = UnscoredError(
            f"{', '.join(str(record['model']) for record in own)} could not score the row: "
            f"{first.get('problem', 'no reason kept')}",
            reason=str(first.get("reason", "SynvitaError")),
            file=first.get("file"),
            found=first.get("found"),
            expected=first.get("expected"),
            fix=first.get("fix") or "Run again with --retry-failed",
        )
    return failed
