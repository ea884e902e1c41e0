"""A video made ready for a model, without the model's weights: by a scorer, and by the workers of a DataLoader."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from ..captions.prompts import Prompt
from ..errors import SynvitaError, VideoError
from ..video import FramePolicy, Frames, decode
from ..video.controls import Control
from .alignment import AlignmentModel
from .families.family import NO_VIDEO, Family, PreparedVideo
from .features import FeatureCache, KnownVideo, VideoPart
from .strategies import EncodedVideo


@dataclass(frozen=True, slots=True)
class Clip:
    """A video's file or bytes, the seconds between which it is looked at (None for its start or end), and its id, which
    a `Control` may go by."""

    video: Path | bytes
    start: float | None = None
    end: float | None = None
    video_id: str = ""


def as_clip(video: Any, start: float | None = None, end: float | None = None) -> Clip:
    """The cell of a dataset (`{"bytes", "path"}`, where bytes win over the path), a path or bytes, as a `Clip`.

    Raises:
        VideoError: neither bytes nor a path are there.
    """
    if isinstance(video, Mapping):
        data, path = video.get("bytes"), video.get("path")
        video = path if data is None else data
    if video is None:
        raise VideoError("a row holds no video", found="bytes and path both null", expected="one of them")
    source = bytes(video) if isinstance(video, bytes | bytearray | memoryview) else Path(video)
    return Clip(source, start, end)


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
        control: what is taken away from every video, None for nothing.

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
        control: Control | None = None,
    ) -> None:
        self.family = type(family)(_NoWeights(family.model), family.processor)
        self.family.placeholder_space = family.placeholder_space
        self.family.preprocess = family.preprocess
        self.family.text_only = family.text_only
        self.prompt = prompt
        self.frames = frames or family.default_frames()
        self.cache = cache
        self.control = control

    @classmethod
    def of(
        cls,
        model: "AlignmentModel | VideoPreparer",
        *,
        frames: FramePolicy | None = None,
        cache: FeatureCache | None = None,
    ) -> "VideoPreparer":
        """The preparer of a model and its prompt; one that is given is returned.

        Raises:
            SynvitaError: frames or a cache beside a preparer, which has its own.
        """
        if not isinstance(model, VideoPreparer):
            return cls(model.family, model.prompt, frames=frames, cache=cache)
        if cache is not None or frames not in (None, model.frames):
            raise SynvitaError(
                "a VideoPreparer has frames and a cache of its own",
                fix="Give frames and cache to VideoPreparer",
            )
        return model

    def read(
        self, video: Any, start: float | None = None, end: float | None = None
    ) -> PreparedVideo | EncodedVideo:
        """What a model takes of a video: encoded already where the cache has it, else prepared.

        Args:
            video: the cell of a dataset, a path or bytes.
            start: second of the file at which to begin.
            end: second of the file at which to end.

        Raises:
            VideoError: it cannot be read, or the processor refuses its frames.
        """
        known = self.known(as_clip(video, start, end)).video
        return known.prepared if known.features is None else known

    def known(self, clip: VideoPart) -> KnownVideo:
        """A video ready for the model, on the CPU; encoded already where the cache has it.

        Raises:
            VideoError: it cannot be read, or the processor refuses its frames.
        """
        return self.sides(clip, (False,))[False]

    def sides(self, clip: VideoPart, mirrored: Collection[bool]) -> dict[bool, KnownVideo]:
        """`known` as it is, mirrored, or both; decoded once at most.

        Args:
            clip: the video.
            mirrored: which sides are wanted: false for the video as it is, true for its mirror image.

        Raises:
            VideoError: it cannot be read, or the processor refuses its frames.
        """
        if self.control is not None and not self.control.watches:
            return {side: KnownVideo(EncodedVideo(NO_VIDEO, {}), {}) for side in mirrored}
        found: dict[bool, KnownVideo] = {}
        keys: dict[bool, str] = {}
        if self.cache is not None:
            with suppress(OSError):  # the decoder says what is wrong with the file
                keys = self.cache.keys(clip, mirrored, control=self.control)
            for side, key in keys.items():
                if (known := self.cache.get(key)) is not None:
                    found[side] = known
        if lacking := [side for side in mirrored if side not in found]:
            decoded = self.decoded(clip)
            for side in lacking:
                found[side] = replace(decoded, key=keys.get(side))
                if side:
                    turned = self.family.mirror(decoded.video.prepared)
                    found[side] = replace(found[side], video=EncodedVideo(turned))
        return found

    def decoded(self, clip: VideoPart, key: str | None = None) -> KnownVideo:
        """`known` without a look into the cache.

        Args:
            clip: the video.
            key: to keep its features by.
        """
        # One decoder thread in a DataLoader's worker, of which there are as many as there are processors.
        threads = None if get_worker_info() is None else 1
        frames = decode(clip.video, self.frames, clip.start, clip.end, threads=threads)
        record = {name: value for name, value in frames.record().items() if name != "source"}
        if self.control is not None:
            frames, shown = self.control.apply(frames, clip.video_id)
            record["indices"] = list(shown)
        return KnownVideo(EncodedVideo(self.prepare(frames)), record, key)

    def prepare(self, frames: Frames) -> PreparedVideo:
        """The processor's work.

        Raises:
            VideoError: it refuses the frames.
        """
        return self.family.prepare(frames, self.prompt)

    def smallest(self) -> PreparedVideo:
        """A black clip of as many frames as the policy says, or of one where it goes by time."""
        if self.family.text_only:
            return NO_VIDEO
        count = self.frames.count or 1
        pixels = np.zeros((count, 224, 224, 3), dtype=np.uint8)
        times = tuple(i / 2 for i in range(count))
        return self.prepare(Frames(pixels, tuple(range(count)), times, 2.0, "a black clip", "none"))
