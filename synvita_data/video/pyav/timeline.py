"""When the frames of a video are shown, and which of them a policy chooses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..frames import Frames
from ..sampling import FramePolicy, look_times, select_frames
from ..source import Source

# Containers that count milliseconds move a frame of a steady rate by half of one, and the rate by as much.
_UNEVEN = 0.0015


@dataclass(frozen=True, slots=True)
class Chosen:
    """Frames that a policy chose: their indices and timestamps, when they are looked at, the file's rate."""

    indices: Sequence[int]
    timestamps: Sequence[float]
    look_times: Sequence[float]
    fps: float

    def frames(self, pixels: NDArray[np.uint8], source: Source, backend: str) -> Frames:
        """`pixels` of these frames with their record."""
        return Frames(
            pixels=pixels,
            indices=tuple(self.indices),
            timestamps=tuple(self.timestamps),
            fps=self.fps,
            source=source.name,
            backend=backend,
            look_times=tuple(self.look_times),
        )


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

    def choose(self, policy: FramePolicy, start: float | None, end: float | None, source: Source) -> Chosen:
        """The frames that `policy` chooses; `start` and `end` are seconds of a player's clock.

        Raises:
            NoFramesError, FramePolicyError: as `select_frames`.
        """
        # From the player's clock to seconds after the first frame.
        start, end = (None if time is None else time - self.first_shown for time in (start, end))
        indices = select_frames(
            policy,
            self.timestamps,
            start=start,
            end=end,
            duration=self.duration,
            first_shown=self.first_shown,
            file=source.name,
        )
        looks = look_times(policy, self.timestamps, indices, start)
        return Chosen(indices, [self.timestamps[i] for i in indices], looks, self.fps)

    @classmethod
    def from_ticks(
        cls, ticks: Sequence[int], last_length: int, time_base: Fraction, sound: float | None = None
    ) -> "Timeline":
        """From ascending timestamps in units of `time_base`.

        Args:
            last_length: of the last frame, 0 where it is not known: the mean interval is taken.
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
