"""The work of one VQA model on a run's rows: one key a synthetic video with its two captions.

A worker holds the loaded model; videos are read and decoded ahead of it in threads.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from synvita_data.captions.prompts import check_placeholder_space, describe
from synvita_data.display import write
from synvita_data.errors import SynvitaError, VideoError, choose
from synvita_data.jobs import Claim, is_worker_fault, quarantine_errors, work_key
from synvita_data.jobs.processes import visible_gpus
from synvita_data.models.runtime import DTYPES, one_cpu_thread, read_ahead
from synvita_data.video import FramePolicy, Frames, MissingBackendError, decode
from synvita_data.video.rules import named_versions

from .models import WHOLE_VIDEO, VqaModel, open_scorer

if TYPE_CHECKING:
    from .base import Prepared, VqaScorer

# Raise it when equal inputs would give other log-probabilities.
SCORER_VERSION = 1
SCORES = ("reference", "first-token")


class VqaRow(NamedTuple):
    """One row to be scored.

    Attributes:
        id: of the dataset's row.
        video: the file.
        sha256: of its bytes, 64 hex digits, when it was checked.
        caption: t^r.
        neg_caption: t^s, which the video was made from.
        generator: what made the video; for the score table only.
        sample: which of the generator's samples it is; for the score table only.
        other_stream: whether its stream is another than before rules were mended, see `synvita_data.video.rules`.
        other_times: which ways of telling the times of its frames are others than before.
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
        frames: which frames.
        preprocessing: `reference` (the released scorer's) or `hf`.
        dtype: of the weights.
        batch_rows: videos in one batch; from 2 on scores differ in rounding with what stands beside a video.
        threads: that read and decode ahead.
        placeholder_space: `processor` or `original`, for models that have the choice
            (`synvita_data.captions.prompts`); None for the one a fine-tune was trained with, or else `processor`.
    """

    frames: FramePolicy = field(default_factory=lambda: FramePolicy(count=4, rule="segment-midpoints"))
    preprocessing: str = "reference"
    dtype: str = "float32"
    batch_rows: int = 1
    threads: int = 2
    placeholder_space: str | None = None

    def __post_init__(self) -> None:
        if self.placeholder_space is not None:
            check_placeholder_space(self.placeholder_space)
        choose(self.dtype, DTYPES, "dtype")
        if self.batch_rows < 1 or self.threads < 1:
            raise SynvitaError(
                "numbers of rows and threads start at 1",
                found=f"batch_rows {self.batch_rows}, threads {self.threads}",
            )


def default_dtype(devices: Sequence[str] | None = None, address: str | None = None) -> str:
    """bfloat16 where workers will have GPUs, float32 on CPUs; without importing torch.

    Args:
        devices: that were asked for.
        address: of a Ray cluster, which is taken to have GPUs.
    """
    if devices:
        return "float32" if any(device.startswith("cpu") for device in devices) else "bfloat16"
    return "bfloat16" if address is not None or visible_gpus() else "float32"


@dataclass(frozen=True)
class VqaScoreJob:
    """Plain data: what engines send to workers.

    Attributes:
        root: the store, which may hold the results of many models.
        model: that scores.
        settings: how it looks at videos.
        rows: to be scored.
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
        settings, model = self.settings, self.model
        common: dict[str, Any] = {
            "version": SCORER_VERSION,
            "kind": model.kind,
            "revision": model.revision,
            "frames": settings.frames.to_dict(),
            "preprocessing": model.shape(settings.preprocessing),
            "dtype": settings.dtype,
        }
        # What was scored by default keeps its keys.
        if (space := model.placeholder_space(settings.placeholder_space)) != "processor":
            common["placeholder_space"] = space
        if model.trained_prompt is not None:
            common["prompt"] = model.trained_prompt
        by_rate = settings.frames.fps is not None
        return tuple(
            work_key(
                video=row.sha256,
                captions=[row.neg_caption, row.caption],
                **common,
                **named_versions(
                    window=by_rate,
                    stream=row.other_stream,
                    times=not by_rate and model.reads_times in row.other_times,
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

    def open_worker(self, device: str | None) -> "VqaScoreWorker":
        return VqaScoreWorker(self.model, self.settings, device)

    def method(self, score: str) -> str:
        """How scores came about, for the `method` column: equal text means comparable scores.

        Raises:
            SynvitaError: unknown score.
        """
        choose(score, SCORES, "score")
        policy, shape = self.settings.frames, self.model.shape(self.settings.preprocessing)
        count = "" if policy.count is None else f"{policy.count} "
        frames = f"{policy.fps:g} fps" if policy.fps is not None else f"{count}{policy.rule}"
        size = "" if policy.size is None else f" at {policy.size}"
        space = self.model.placeholder_space(self.settings.placeholder_space)
        explained = "" if space == "processor" else f" with {space} placeholder space"
        return (
            f"{score} score; {self.model.question} prompt{explained}; {shape} preprocessing; "
            f"{frames} frames{size}, {policy.backend}; {self.settings.dtype}"
        )

    def __getstate__(self) -> dict[str, Any]:  # workers count their keys themselves
        return {name: value for name, value in self.__dict__.items() if name != "keys"}


class ChangedVideoError(VideoError):
    """A video has other bytes than when it was checked."""


# A claim with its video, prepared, and the indices of its frames.
_Look = tuple[Claim, "Prepared", tuple[int, ...]]


class VqaScoreWorker:
    """Scores claims with one model.

    A video with its captions is one batch (unless `batch_rows` says otherwise), on a CPU computed by one thread,
    so that a score does not depend on what else is scored, in which order, or by how many workers.

    Args:
        model: to load.
        settings: how it looks at videos.
        device: None for this process's GPU, or the CPU.
    """

    def __init__(self, model: VqaModel, settings: VqaSettings, device: str | None) -> None:
        from .base import MemoryLimit

        self._model, self._settings = model, settings
        self._memory = MemoryLimit()
        self.scorer: VqaScorer = open_scorer(
            model,
            preprocessing=settings.preprocessing,
            dtype=settings.dtype,
            device=device,
            placeholder_space=settings.placeholder_space,
        )
        self._more: dict[str, Any] = {}
        if (placeholder := self.scorer.behind_placeholder) is not None:
            self._more = {"placeholder": placeholder}
            write(f"{model.label!r}: {describe(**placeholder)}\n", err=True)

    def run(self, held: Iterator[tuple[Claim, VqaRow]]) -> None:
        """Complete every claim: log-probabilities of its frames and captions, or why there are none."""
        batch: list[_Look] = []
        for (claim, _), look in read_ahead(held, self._look, self._settings.threads):
            if isinstance(look, Exception):
                with quarantine_errors(claim):
                    raise look
                continue
            batch.append((claim, *look))
            if len(batch) == self._settings.batch_rows:
                self._score(batch)
                batch = []
        if batch:
            self._score(batch)

    def close(self) -> None:
        """Let go of the model."""
        device = self.scorer.device
        del self.scorer
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _look(self, held: tuple[Claim, VqaRow]) -> "tuple[Prepared, tuple[int, ...]] | Exception":
        """In a thread: the video's frames, prepared with both captions, or what is wrong with them."""
        row = held[1]
        try:
            frames = read_frames(row, self._settings, whole=self._model.kind == WHOLE_VIDEO)
            return self.scorer.prepare(frames, (row.neg_caption, row.caption)), frames.indices
        except MissingBackendError:  # the machine's fault
            raise
        except Exception as error:
            return error

    def _score(self, batch: Sequence[_Look]) -> None:
        from .base import log_probs_that_fit

        try:
            with one_cpu_thread(str(self.scorer.device)):
                found = log_probs_that_fit(self.scorer, [prepared for _, prepared, _ in batch], self._memory)
        except Exception as error:
            if is_worker_fault(error):
                raise
            if len(batch) > 1:  # find the one at fault
                for each in batch:
                    self._score([each])
                return
            with quarantine_errors(batch[0][0]):
                raise
            return
        for (claim, _, indices), log_probs in zip(batch, found, strict=True):
            with quarantine_errors(claim):
                claim.commit({"frames": list(indices), "log_probs": log_probs.tolist(), **self._more})


def read_frames(row: VqaRow, settings: VqaSettings, *, whole: bool = False) -> Frames:
    """The frames of a row's video, from bytes that are those that were checked.

    Args:
        row: whose video it is.
        settings: which frames.
        whole: a video of too few frames may show some twice; frame by frame that would count them twice.

    Raises:
        VideoError: missing, changed, damaged, or with fewer frames than are to be scored.
    """
    try:
        content = Path(row.video).read_bytes()
    except OSError as error:
        raise ChangedVideoError(
            "a video can no longer be read",
            file=row.video,
            found=error.strerror,
            fix="Put it back and run again",
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != row.sha256:
        raise ChangedVideoError(
            "a video has changed since it was checked",
            file=row.video,
            found=f"{len(content):,} bytes, sha256 {digest}",
            expected=f"sha256 {row.sha256}",
            fix="Run again: it is checked again, and scored as it is then",
        )
    frames = decode({"bytes": content, "path": row.video}, settings.frames)
    if not whole:
        check_distinct(frames)
    return frames


def check_distinct(frames: Frames) -> None:
    """Refuse frames of which one stands twice, as it does where a video has fewer than are asked for.

    Raises:
        VideoError: as it says.
    """
    if len(set(frames.indices)) < len(frames.indices):
        raise VideoError(
            "a video has fewer frames than are to be scored",
            file=frames.source,
            found=f"frames {list(frames.indices)}",
            expected=f"{len(frames.indices)} different ones",
            fix="Score fewer frames with --frames, or generate it again",
        )
