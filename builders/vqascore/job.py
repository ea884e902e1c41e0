"""The work of one VQA model on a run's rows: one key a synthetic video with its two captions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from synvita_data.captions.placeholders import check_placeholder_space
from synvita_data.errors import SynvitaError
from synvita_data.jobs import Worker, work_key
from synvita_data.jobs.processes import visible_gpus
from synvita_data.models.runtime import DTYPES
from synvita_data.video import FramePolicy
from synvita_data.video.rules import named_versions

from .models import VqaModel
from .questions import SCORES

# Raise it when equal inputs would give other log-probabilities.
SCORER_VERSION = 1


class VqaRow(NamedTuple):
    """One row to be scored.

    Attributes:
        id: of the dataset's row. video: the file. sha256: of its bytes, 64 hex digits, when it was checked.
        caption: t^r. neg_caption: t^s, which the video was made from.
        generator, sample: what made the video, and which of its samples it is; for the score table only.
        other_stream, other_times: whether its stream, and which ways of telling the times of its frames, are others
            than before rules were mended, see `synvita_data.video.rules`.
    """

    id: str
    video: str
    sha256: str
    caption: str
    neg_caption: str
    generator: str | None = None
    sample: int | None = None
    other_stream: bool = False
    other_times: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VqaSettings:
    """How a model looks at videos.

    Attributes:
        frames: which frames. preprocessing: `reference` (the released scorer's) or `hf`. dtype: of the weights.
        batch_rows: videos in one batch; from 2 on scores differ in rounding with what stands beside a video.
        threads: that read and decode ahead.
        placeholder_space: `processor` or `original`, for models that have the choice (`synvita_data.captions.placeholders`).
    """

    frames: FramePolicy = field(default_factory=lambda: FramePolicy(count=4, rule="segment-midpoints"))
    preprocessing: str = "reference"
    dtype: str = "float32"
    batch_rows: int = 1
    threads: int = 2
    placeholder_space: str = "processor"

    def __post_init__(self) -> None:
        check_placeholder_space(self.placeholder_space)
        if self.dtype not in DTYPES:
            raise SynvitaError("weights cannot have this dtype", found=self.dtype, expected=", ".join(DTYPES))
        if self.batch_rows < 1 or self.threads < 1:
            raise SynvitaError(
                "numbers of rows and threads start at 1",
                found=f"batch_rows {self.batch_rows}, threads {self.threads}",
            )


def default_dtype(devices: Sequence[str] | None = None, address: str | None = None) -> str:
    """bfloat16 where workers will have GPUs, float32 on CPUs; without importing torch.

    Args:
        devices: that were asked for. address: of a Ray cluster, which is taken to have GPUs.
    """
    if devices:
        return "float32" if any(device.startswith("cpu") for device in devices) else "bfloat16"
    return "bfloat16" if address is not None or visible_gpus() else "float32"


@dataclass(frozen=True)
class VqaScoreJob:
    """Plain data: what engines send to workers.

    Attributes:
        root: the store, which may hold the results of many models. model, settings, rows: the work.
    """

    root: Path
    model: VqaModel
    settings: VqaSettings
    rows: tuple[VqaRow, ...]

    @property
    def title(self) -> str:
        return f"scoring with {self.model.label}"

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of each row, aligned with `rows`; rows with equal videos and captions share one.

        The number of rows in a batch is no part of it, nor is the kind of score: log-probabilities are kept,
        which both kinds are made from.
        """
        settings = self.settings
        common: dict[str, Any] = {
            "version": SCORER_VERSION,
            "kind": self.model.kind,
            "revision": self.model.revision,
            "frames": settings.frames.to_dict(),
            "preprocessing": self.model.shape(settings.preprocessing),
            "dtype": settings.dtype,
        }
        by_rate = settings.frames.fps is not None
        if (space := self.model.placeholder_space(settings.placeholder_space)) != "processor":
            common["placeholder_space"] = space  # what was scored by default keeps its keys
        return tuple(
            work_key(
                video=row.sha256,
                captions=[row.neg_caption, row.caption],
                **common,
                **named_versions(
                    window=by_rate,
                    stream=row.other_stream,
                    times=not by_rate and self.model.reads_times in row.other_times,
                ),
            )
            for row in self.rows
        )

    def inputs(self) -> dict[str, VqaRow]:
        """Key -> the first row that has it."""
        inputs: dict[str, VqaRow] = {}
        for key, row in zip(self.keys, self.rows, strict=True):
            inputs.setdefault(key, row)
        return inputs

    def open_worker(self, device: str | None) -> Worker:
        from .worker import VqaScoreWorker

        return VqaScoreWorker(self.model, self.settings, device)

    def method(self, score: str) -> str:
        """How scores came about, for the `method` column: equal text means comparable scores.

        Raises:
            SynvitaError: no such score.
        """
        if score not in SCORES:
            raise SynvitaError("no such score", found=score, expected=f"one of {', '.join(SCORES)}")
        policy, shape = self.settings.frames, self.model.shape(self.settings.preprocessing)
        count = "" if policy.count is None else f"{policy.count} "
        frames = f"{policy.fps:g} fps" if policy.fps is not None else f"{count}{policy.rule}"
        size = "" if policy.size is None else f" at {policy.size}"
        space = self.model.placeholder_space(self.settings.placeholder_space)
        told = "" if space == "processor" else f" with {space} placeholder space"
        return (
            f"{score} score; {self.model.question} prompt{told}; {shape} preprocessing; {frames} frames{size}, "
            f"{policy.backend}; {self.settings.dtype}"
        )

    def __getstate__(self) -> dict[str, Any]:  # workers count their keys themselves
        return {name: value for name, value in self.__dict__.items() if name != "keys"}
