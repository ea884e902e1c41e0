"""A video made ready for a model, without the model's weights: by a scorer, and by the workers of a DataLoader."""

from typing import Any

from ..captions.prompts import Prompt
from ..video import FramePolicy, Frames, decode
from .alignment import AlignmentModel
from .families.family import Family, PreparedVideo
from .features import Clip, FeatureCache, KnownVideo
from .strategies import EncodedVideo


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

    def read(self, clip: Clip) -> KnownVideo:
        """A video ready for the model, on the CPU; encoded already where the cache has it.

        Raises:
            VideoError: it cannot be read, or the processor refuses its frames.
        """
        key = None
        if self.cache is not None:
            try:
                key = self.cache.key(clip)
            except OSError:
                pass  # the decoder says what is wrong with the file
            else:
                if (known := self.cache.get(key)) is not None:
                    return known
        frames = decode(clip.video, self.frames, clip.start, clip.end, threads=_decoder_threads())
        record = {name: value for name, value in frames.record().items() if name != "source"}
        return KnownVideo(EncodedVideo(self.prepare(frames)), record, key)

    def prepare(self, frames: Frames) -> PreparedVideo:
        """The processor's work.

        Raises:
            VideoError: it refuses the frames.
        """
        return self.family.prepare(frames, self.prompt)


def _decoder_threads() -> int | None:
    """One in a DataLoader's worker, of which there are as many as there are processors."""
    from torch.utils.data import get_worker_info

    return None if get_worker_info() is None else 1
