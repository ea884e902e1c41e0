"""Videos of rows: made ready for a model without its weights, and each file looked into once before training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from synvita_data.captions.prompts import Prompt
from synvita_data.errors import SynvitaError, VideoError
from synvita_data.models import AlignmentModel, EncodedVideo, Family, PreparedVideo
from synvita_data.models.decode_ahead import read_ahead
from synvita_data.models.features import FeatureCache
from synvita_data.real_videos.times import choose_part
from synvita_data.scoring.protocol import ScoringItem
from synvita_data.video import FramePolicy, Frames, NoFramesError, check_video, decode

from .rows import VideoColumn
from .selection import SelectedRow
from .triplet import VIDEOS


class _NoWeights:
    """Stands where a family has its model: preparing a video and its prompts reads the configuration at most."""

    def __init__(self, model: Any) -> None:
        self.config = model.config
        self.dtype = model.dtype


class VideoPreparer:
    """Decodes videos and runs a family's processor on them; holds no weights, so it pickles to workers.

    Args:
        family: family of the model; only its processor and configuration are used.
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
        # One decoder thread in a DataLoader's worker, of which there are as many as there are processors.
        threads = None if get_worker_info() is None else 1
        return self.prepare(decode(item.video, self.frames, start, end, threads=threads))

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


def smallest_video(preparer: VideoPreparer) -> PreparedVideo:
    """A black clip of as many frames as the policy says, or of one where it goes by time."""
    count = preparer.frames.count or 1
    pixels = np.zeros((count, 224, 224, 3), dtype=np.uint8)
    times = tuple(i / 2 for i in range(count))
    return preparer.prepare(Frames(pixels, tuple(range(count)), times, 2.0, "a black clip", "none"))


@dataclass(frozen=True, slots=True, eq=False)
class DistinctVideo:
    """One video (or the part of it that rows are about).

    Attributes:
        kind: one of VIDEOS.
        rows: numbers of the rows that it serves.
        column: where it is read from.
        start: second of its file at which the part begins.
        end: second at which the part ends.
    """

    kind: str
    rows: tuple[int, ...]
    column: VideoColumn
    start: float | None
    end: float | None

    def item(self) -> ScoringItem:
        """It, as decoder and feature cache take it; bytes are read now."""
        return as_item(self.column[self.rows[0]], self.start, self.end)


@dataclass(frozen=True, slots=True)
class UnreadableVideo:
    """A video that cannot be trained on: which of VIDEOS, in which rows of the dataset, and why."""

    kind: str
    rows: tuple[int, ...]
    error: VideoError


def distinct_videos(
    triplets: Sequence[SelectedRow], columns: Mapping[str, VideoColumn]
) -> list[DistinctVideo]:
    """The videos that these triplets train, in their order; one file with the same times once."""
    rows: dict[tuple[str, str | int, float | None, float | None], list[int]] = {}
    for triplet in triplets:
        for kind, wanted in zip(VIDEOS, (triplet.real, triplet.synthetic), strict=True):
            if wanted:
                times = (triplet.start, triplet.end) if kind == "real" else (None, None)
                # Bytes in the dataset are taken for distinct: comparing them would read them all.
                place = columns[kind].path(triplet.number) or triplet.number
                rows.setdefault((kind, place, *times), []).append(triplet.number)
    return [
        DistinctVideo(kind, tuple(own), columns[kind], start, end)
        for (kind, _, start, end), own in rows.items()
    ]


def probe_videos(
    videos: Sequence[DistinctVideo],
    *,
    workers: int = 2,
    decode_all: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[UnreadableVideo]:
    """The videos that cannot be read, found by their packets and first frame (`check_video`), in threads.

    Args:
        videos: of `distinct_videos`.
        workers: threads.
        decode_all: decode every frame, which finds damage inside packets too.
        on_progress: called with videos done and in all.
    """

    def probe(item: ScoringItem) -> None:
        info = check_video(item.video, decode_all=decode_all)
        part = choose_part(info.first_shown + info.duration, item.start, item.end, cut=False, told=True)
        if item.end is not None and item.end <= info.first_shown:
            problem, fix = "a clip ends before its video shows anything", None
            found = f"a first frame at {info.first_shown:.2f} s, a clip up to {item.end:g} s"
        elif part.use == "none":
            problem, found = "a clip begins or ends behind the end of its video", str(part.doubt)
            fix = "Is the file cut already? Say so in the mapping (trimmed)"
        else:
            return
        file = None if isinstance(item.video, bytes) else item.video
        raise NoFramesError(
            problem, file=file, found=found, expected="start and end inside the file", fix=fix
        )

    unreadable = []
    results = read_ahead((video.item() for video in videos), probe, workers)
    for done, (video, (_, result)) in enumerate(zip(videos, results, strict=True), 1):
        if isinstance(result, VideoError):
            unreadable.append(UnreadableVideo(video.kind, video.rows, result))
        if on_progress is not None:
            on_progress(done, len(videos))
    return unreadable
