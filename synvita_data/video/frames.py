"""What is asked for, when the frames of a video are shown, and the decoded frames with their record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sampling import FramePolicy, look_times, select_frames
from .source import Source

# Containers that count milliseconds move a frame of a steady rate by half of one, and the rate by as much.
_UNEVEN = 0.0015


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of one video, ready for a model's processor.

    Attributes:
        pixels: uint8 [T, H, W, 3], RGB.
        indices: T indices; frame i is the i-th frame of the file in presentation order, counted from 0.
            A video with fewer frames than a policy's count repeats some.
        timestamps: T presentation times in seconds after the file's first frame.
        fps: mean frame rate of the file (not of this selection), frames a second; 0.0 for one frame.
        source: the file's path, or what names bytes in memory.
        backend: the decoder that made the pixels.
        look_times: T times at which a viewer looks at these frames, seconds after the file's first frame and
            inside the asked window: a frame that stays on show is looked at several times (rule `fps`), or after
            its timestamp (one that came on show before the window). () takes the timestamps.
    """

    pixels: NDArray[np.uint8]
    indices: tuple[int, ...]
    timestamps: tuple[float, ...]
    fps: float
    source: str
    backend: str
    look_times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.look_times:
            object.__setattr__(self, "look_times", self.timestamps)  # the dataclass is frozen
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
            raise ValueError(f"pixels must be uint8 [T, H, W, 3], not {self.pixels.dtype} {list(shape)}")
        if not shape[0] == len(self.indices) == len(self.timestamps) == len(self.look_times):
            raise ValueError(
                f"{shape[0]} frames, {len(self.indices)} indices, {len(self.timestamps)} timestamps and "
                f"{len(self.look_times)} times of looking differ"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        shown = ", ".join(f"{time:.2f}" for time in self.timestamps[:4]) + (", …" if len(self) > 4 else "")
        return f"<Frames: {len(self)} of {self.width}×{self.height} at {shown} s, of {self.source}>"

    @property
    def height(self) -> int:
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        return self.pixels.shape[2]

    def record(self) -> dict[str, Any]:
        """JSON-ready description without the pixels, to store beside every score made from them."""
        return {
            "source": self.source,
            "backend": self.backend,
            "indices": list(self.indices),
            "timestamps": list(self.timestamps),
            "fps": self.fps,
            "height": self.height,
            "width": self.width,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """What one call of `decode` asks for; its arguments, with the source resolved."""

    source: Source
    policy: FramePolicy
    start: float | None
    end: float | None
    threads: int | None

    def output_size(self, count: int, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frames to return, for `count` frames shown at `height` × `width`.

        Raises:
            VideoTooLargeError: the array of all frames exceeds `Limits.max_output_bytes`.
        """
        height, width = self.policy.target_size(height, width)
        self.source.check(
            "max_output_bytes",
            count * height * width * 3,
            f"bytes of RGB for {count} frames of {height}×{width}",
            fix="Ask for fewer or smaller frames",
        )
        return height, width


@dataclass(frozen=True, slots=True)
class Chosen:
    """Frames that a request chooses.

    Attributes:
        request: what was asked for.
        indices, timestamps, look_times, fps: as of `Frames`.
    """

    request: Request
    indices: tuple[int, ...]
    timestamps: tuple[float, ...]
    look_times: tuple[float, ...]
    fps: float

    def frames(self, pixels: NDArray[np.uint8]) -> Frames:
        """`pixels` of these frames with their record."""
        name, backend = self.request.source.name, self.request.policy.backend
        return Frames(pixels, self.indices, self.timestamps, self.fps, name, backend, self.look_times)


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each frame of a video is shown.

    Attributes:
        timestamps: seconds after the first frame, ascending, one a frame.
        start: the first frame's own timestamp in the file, seconds (0.0 where it has none).
        duration: seconds from the first frame to the end of the last.
        first_shown: what a player's clock says when the first frame appears, seconds: more than 0 where
            the sound begins earlier.
    """

    timestamps: Sequence[float]
    start: float
    duration: float
    first_shown: float = 0.0

    @property
    def fps(self) -> float:
        """Mean frame rate from first to last frame, frames a second; 0.0 for a single frame."""
        span = self.timestamps[-1] - self.timestamps[0]
        return (len(self.timestamps) - 1) / span if span > 0 else 0.0

    @property
    def is_even(self) -> bool:
        """Whether frame i comes on show at i / fps, but for the rounding of a container that counts milliseconds."""
        return is_even(range(len(self.timestamps)), self.timestamps, self.fps)

    def choose(self, request: Request) -> Chosen:
        """The frames that a request chooses; its start and end are seconds of a player's clock.

        Raises:
            NoFramesError, FramePolicyError: as `select_frames`.
        """
        # From the player's clock to seconds after the first frame.
        start, end = (
            None if time is None else time - self.first_shown for time in (request.start, request.end)
        )
        indices = select_frames(
            request.policy,
            self.timestamps,
            start=start,
            end=end,
            duration=self.duration,
            first_shown=self.first_shown,
        )
        looks = look_times(request.policy, self.timestamps, indices, start, end, self.duration)
        timestamps = tuple(self.timestamps[i] for i in indices)
        return Chosen(request, tuple(indices), timestamps, tuple(looks), self.fps)

    @classmethod
    def from_ticks(
        cls, ticks: Sequence[int], last_length: int, time_base: Fraction, sound: float | None = None
    ) -> "Timeline":
        """From ascending timestamps in units of `time_base`.

        Args:
            ticks: timestamps of the frames.
            last_length: of the last frame, 0 where it is not known: the mean interval is taken.
            time_base: seconds of one unit.
            sound: the file's own time at which its sound begins, seconds; None without sound.
        """
        # Integers times one exact fraction: no error adds up over a long video.
        unit, parts = time_base.numerator, time_base.denominator
        span = ticks[-1] - ticks[0]
        if last_length <= 0:
            last_length = round(span / max(1, len(ticks) - 1))
        timestamps = [(tick - ticks[0]) * unit / parts for tick in ticks]
        start = ticks[0] * unit / parts
        # A player's clock begins with what begins first, and at 0 where a codec's warm-up lies before that.
        first_shown = 0.0 if sound is None else max(0.0, start - max(0.0, sound))
        return cls(timestamps, start, (span + last_length) * unit / parts, first_shown)


def is_even(indices: Iterable[int], timestamps: Iterable[float], fps: float) -> bool:
    """Whether frame i of these comes on show at i / fps, within 1.5 ms."""
    return all(
        abs(index - time * fps) <= _UNEVEN * fps for index, time in zip(indices, timestamps, strict=True)
    )
