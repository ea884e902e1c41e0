"""A worker of `VqaScoreJob`: one loaded model, videos read and decoded ahead of it in threads."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synvita_data.captions.placeholders import describe
from synvita_data.display import write
from synvita_data.errors import VideoError
from synvita_data.jobs import Claim, is_worker_fault, settling
from synvita_data.models.runtime import one_cpu_thread, read_ahead
from synvita_data.video import Frames, MissingBackendError, decode

from .job import VqaRow, VqaSettings
from .models import WHOLE_VIDEO, VqaModel
from .open import open_scorer
from .scorer import MemoryLimit, Prepared, VqaScorer, log_probs_that_fit


class ChangedVideoError(VideoError):
    """A video has other bytes than when it was checked."""


class VqaScoreWorker:
    """Scores claims with one model.

    A video with its captions is one batch (unless `batch_rows` says otherwise), on a CPU computed by one thread,
    so that a score does not depend on what else is scored, in which order, or by how many workers.

    Args:
        device: None for this process's GPU, or the CPU.
    """

    def __init__(self, model: VqaModel, settings: VqaSettings, device: str | None) -> None:
        self._model, self._settings = model, settings
        self._memory = MemoryLimit()
        self._scorer: VqaScorer | None = open_scorer(
            model,
            preprocessing=settings.preprocessing,
            dtype=settings.dtype,
            device=device,
            placeholder_space=settings.placeholder_space,
        )
        self._more: dict[str, Any] = {}
        if (placeholder := self._scorer.behind_placeholder) is not None:
            self._more = {"placeholder": placeholder}
            write(f"{model.label!r}: {describe(**placeholder)}\n", err=True)

    @property
    def scorer(self) -> VqaScorer:
        assert self._scorer is not None, "the worker is closed"
        return self._scorer

    def run(self, held: Iterator[tuple[Claim, VqaRow]]) -> None:
        """Settle every claim: log-probabilities of its frames and captions, or why there are none."""
        together: list[tuple[Claim, _Look]] = []
        for (claim, _), look in read_ahead(held, self._look, self._settings.threads):
            if isinstance(look, Exception):
                with settling(claim):
                    raise look
                continue
            together.append((claim, look))
            if len(together) == self._settings.batch_rows:
                self._score(together)
                together = []
        if together:
            self._score(together)

    def close(self) -> None:
        """Let go of the model."""
        on_gpu = self._scorer is not None and self._scorer.device.type == "cuda"
        self._scorer = None
        if on_gpu:
            import torch

            torch.cuda.empty_cache()

    def _look(self, held: tuple[Claim, VqaRow]) -> "_Look | Exception":
        """In a thread: the video's frames, prepared with both captions, or what is wrong with them."""
        try:
            frames = read_frames(held[1], self._settings, whole=self._model.kind == WHOLE_VIDEO)
            return _Look(frames, self.scorer.prepare(frames, (held[1].neg_caption, held[1].caption)))
        except MissingBackendError:  # the machine's fault
            raise
        except Exception as error:
            return error

    def _score(self, together: Sequence[tuple[Claim, "_Look"]]) -> None:
        try:
            with one_cpu_thread(str(self.scorer.device)):
                found = log_probs_that_fit(self.scorer, [look.prepared for _, look in together], self._memory)
        except Exception as error:
            if is_worker_fault(error):
                raise
            if len(together) > 1:  # find the one at fault
                for each in together:
                    self._score([each])
                return
            with settling(together[0][0]):
                raise
            return
        for (claim, look), log_probs in zip(together, found, strict=True):
            with settling(claim):
                claim.commit({"frames": look.indices(), "log_probs": log_probs.tolist(), **self._more})


class _Look:
    """A video that is ready to be scored."""

    def __init__(self, frames: Frames, prepared: Prepared) -> None:
        self.prepared = prepared
        self._frames = frames.indices

    def indices(self) -> list[int]:
        return list(self._frames)


def read_frames(row: VqaRow, settings: VqaSettings, *, whole: bool = False) -> Frames:
    """The frames of a row's video, from bytes that are those that were checked.

    Args:
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
    if not whole and len(set(frames.indices)) < len(frames.indices):
        raise VideoError(
            "a video has fewer frames than are to be scored",
            file=row.video,
            found=f"frames {list(frames.indices)}",
            expected=f"{len(frames.indices)} different ones",
            fix="Score fewer frames with --frames, or generate it again",
        )
    return frames
