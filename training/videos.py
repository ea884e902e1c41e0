"""Videos of rows made ready for a model, without the model: what the workers of a DataLoader do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synvita_data.captions.prompts import Prompt
from synvita_data.errors import VideoError
from synvita_data.models import AlignmentModel, EncodedVideo, Family, PreparedVideo
from synvita_data.models.features import FeatureCache
from synvita_data.scoring.protocol import ScoringItem
from synvita_data.video import FramePolicy, Frames, decode


class _NoWeights:
    """Stands where a family has its model: preparing a video and its prompts reads the configuration at most."""

    def __init__(self, model: Any) -> None:
        self.config = model.config
        self.dtype = model.dtype


class VideoPreparer:
    """Decodes videos and runs a family's processor on them; holds no weights, so it pickles to workers.

    Args:
        family: of the model; only its processor and configuration are used.
        prompt: the wording, because some join the frames' placeholders in their own way.
        frames: which frames; None for the family's own.
        cache: of features; a video that is in it is neither decoded nor sent through the tower.

    Attributes:
        family: the same family around the model's configuration alone.
    """

    def __init__(
        self,
        family: Family,
        prompt: Prompt,
        *,
        frames: FramePolicy | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        self.family = type(family)(_NoWeights(family.model), family.processor)
        self.family.placeholder_space = family.placeholder_space
        self.prompt = prompt
        self.frames = frames or family.default_frames()
        self.cache = cache

    @classmethod
    def of(
        cls, model: AlignmentModel, *, frames: FramePolicy | None = None, cache: FeatureCache | None = None
    ) -> "VideoPreparer":
        """The preparer of a model and its prompt."""
        return cls(model.family, model.prompt, frames=frames, cache=cache)

    def read(
        self, video: Any, start: float | None = None, end: float | None = None
    ) -> PreparedVideo | EncodedVideo:
        """A video ready for the model, on the CPU; encoded already where the cache has it.

        Args:
            video: the cell of a dataset, `{"bytes", "path"}`, or a path or bytes.
            start, end: seconds of the file.

        Raises:
            VideoError: it cannot be read, or the processor refuses its frames.
        """
        item = as_item(video, start, end)
        if self.cache is not None:
            try:
                known = self.cache.get(self.cache.key(item))
            except OSError:
                known = None  # the decoder says what is wrong with the file
            if known is not None:
                return known.video
        return self.prepare(decode(item.video, self.frames, start, end, threads=_decoder_threads()))

    def prepare(self, frames: Frames) -> PreparedVideo:
        """The processor's work.

        Raises:
            VideoError: it refuses the frames.
        """
        try:
            return self.family.prepare(frames, self.prompt)
        except ValueError as error:
            raise VideoError(
                "the model's processor refuses the frames", file=frames.source, found=str(error)
            ) from error


def as_item(video: Any, start: float | None, end: float | None) -> ScoringItem:
    """A video as the decoder, the feature cache and `read_ahead` take it; bytes win over the path.

    Raises:
        VideoError: neither is there.
    """
    if isinstance(video, Mapping):
        data, path = video.get("bytes"), video.get("path")
        video = path if data is None else data
    if video is None:
        raise VideoError("a row holds no video", found="bytes and path both null", expected="one of them")
    source = bytes(video) if isinstance(video, bytes | bytearray | memoryview) else Path(video)
    return ScoringItem("", "", source, (), (), start, end)


def _decoder_threads() -> int | None:
    """One in a DataLoader's worker, of which there are as many as there are processors."""
    from torch.utils.data import get_worker_info

    return None if get_worker_info() is None else 1
