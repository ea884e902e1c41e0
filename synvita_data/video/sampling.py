"""Which frames of a video to look at, and at what size: `FramePolicy` and its rules by name.

Scores move with the frame policy, so it is part of every cache key (`FramePolicy.to_dict`).
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .errors import FramePolicyError, NoFramesError

BACKENDS = ("pyav", "decord", "torchcodec")

# Times closer than this are one time: start, end and timestamps come from different roundings.
_SAME_TIME = 1e-6


def segment_midpoints(frames: int, count: int) -> list[int]:
    """Frame in the middle of each of `count` equal segments: floor((2k + 1) n / (2 count)).

    Our choice for f̄, of which SynViTA says no more than "four uniformly sampled" frames (its code for them is not
    released). VQAScore's code takes i (n // 4) for image models, from the first frame on, and mPLUG-Owl's rule for
    InternVideo: of 32 frames 0, 8, 16, 24 and 3, 11, 19, 26 where this takes 4, 12, 20, 28.
    """
    return [(2 * k + 1) * frames // (2 * count) for k in range(count)]


def linspace(frames: int, count: int) -> list[int]:
    """`numpy.linspace(0, n - 1, count, dtype=int)`, Video-LLaVA's sampling: first and last included."""
    return np.linspace(0, frames - 1, count, dtype=int).tolist()


def mplug_owl(frames: int, count: int) -> list[int]:
    """mPLUG-Owl's sampling: int(s / 2) + round_half_even(s k) with s = (n - 1) / count."""
    segment = (frames - 1) / count
    return [int(segment / 2) + round(segment * k) for k in range(count)]


def every_frame(frames: int, count: int) -> list[int]:
    """All frames; `count` is not used."""
    return list(range(frames))


RULES: dict[str, Callable[[int, int], list[int]]] = {
    "segment-midpoints": segment_midpoints,
    "linspace": linspace,
    "mplug-owl": mplug_owl,
    "all": every_frame,
}
_DEFAULT_COUNT = {"segment-midpoints": 8, "linspace": 8, "mplug-owl": 32}


@dataclass(frozen=True, slots=True)
class FramePolicy:
    """Which frames, at what size, decoded by what.

    Args:
        count: number of frames; None takes the rule's own (8; `mplug-owl` 32; `all` has none). A shorter
            video repeats frames, so that exactly `count` come back.
        rule: `segment-midpoints`, `linspace`, `mplug-owl` or `all` (see `RULES`); set to `fps` or
            `indices` by the two arguments of that name.
        size: None keeps the stored size; an int scales the shorter side to it and keeps the aspect
            (the longer side rounds down, as torchvision's Resize does); (height, width) is exact and
            ignores the aspect.
        backend: `pyav`, `decord` or `torchcodec`.
        fps: instead of a rule, the frame on show at start + k / fps, k = 0, 1, … before the end.
        indices: instead of a rule, these frames of the file (counted from 0 in presentation order,
            whatever `start` is), in this order, repeats allowed.

    Raises:
        FramePolicyError: unknown rule or backend, sizes or counts below 1, or two ways to choose at once.
    """

    count: int | None = None
    rule: str = "segment-midpoints"
    size: int | tuple[int, int] | None = None
    backend: str = "pyav"
    fps: float | None = None
    indices: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise FramePolicyError("unknown backend", found=self.backend, expected=" or ".join(BACKENDS))
        if self.fps is not None and self.indices is not None:
            raise FramePolicyError("fps and indices are two ways to choose frames", expected="one of them")
        own_rule = "fps" if self.fps is not None else "indices" if self.indices is not None else None
        if own_rule is not None:
            self._check_own_rule(own_rule)
        elif self.rule not in RULES:
            expected = ", ".join(RULES) + "; or the argument fps or indices"
            raise FramePolicyError("unknown rule of sampling frames", found=self.rule, expected=expected)
        elif self.rule == "all":
            if self.count is not None:
                raise FramePolicyError("rule 'all' takes no count", found=self.count, expected="count=None")
        else:
            self._set(
                "count", _DEFAULT_COUNT[self.rule] if self.count is None else _whole("count", self.count)
            )
        if self.size is not None:
            self._set("size", _check_size(self.size))

    def _check_own_rule(self, rule: str) -> None:
        if self.count is not None or self.rule not in ("segment-midpoints", rule):
            raise FramePolicyError(
                f"{rule} chooses frames by itself",
                found=f"rule={self.rule!r}, count={self.count}",
                expected="neither rule nor count",
            )
        self._set("rule", rule)
        if self.fps is not None:
            if isinstance(self.fps, bool) or not math.isfinite(self.fps) or self.fps <= 0:
                raise FramePolicyError("a frame rate is not positive", found=self.fps, expected="fps > 0")
            self._set("fps", float(self.fps))
        else:
            assert self.indices is not None
            indices = tuple(_whole("indices", index, least=0) for index in self.indices)
            if not indices:
                raise FramePolicyError("no indices", found="()", expected="at least one frame index")
            self._set("indices", indices)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready and complete: equal dicts mean equal frames of equal files (for cache keys)."""
        record = asdict(self)
        for name in ("size", "indices"):
            if isinstance(record[name], tuple):
                record[name] = list(record[name])
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "FramePolicy":
        """The policy that `to_dict` described.

        Raises:
            FramePolicyError: a key that is no argument of `FramePolicy`, or values it refuses.
        """
        unknown = set(record) - set(cls.__dataclass_fields__)
        if unknown:
            raise FramePolicyError(
                "unknown key of a frame policy",
                found=", ".join(sorted(unknown)),
                expected=", ".join(cls.__dataclass_fields__),
            )
        return cls(**record)  # lists, as JSON has them, become tuples

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the returned frames for frames shown at `height` × `width`."""
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        if height <= width:
            return self.size, max(1, self.size * width // height)
        return max(1, self.size * height // width), self.size


def select_frames(
    policy: FramePolicy,
    timestamps: Sequence[float],
    *,
    start: float | None = None,
    end: float | None = None,
    duration: float | None = None,
    file: str | None = None,
) -> list[int]:
    """Indices into `timestamps` that `policy` chooses among the frames shown within [start, end).

    Args:
        timestamps: presentation times in ascending order, seconds after the first frame.
        start, end: seconds; None means the beginning and the end.
        duration: the video's, in seconds, for the last instants of `fps`; None: the last timestamp.
        file: names the video in errors.

    Raises:
        NoFramesError: no frame within [start, end), or an index that is not there.
        FramePolicyError: start or end is no number.
    """
    first, stop = _window(timestamps, start, end, file)
    if policy.indices is not None:
        for index in policy.indices:
            if not first <= index < stop:
                raise NoFramesError(
                    "a frame was asked for that is not there",
                    file=file,
                    found=f"index {index}",
                    expected=f"{first} to {stop - 1}",
                )
        return list(policy.indices)
    if policy.fps is not None:
        begin = timestamps[first] if start is None else max(start, timestamps[0])
        finish = timestamps[-1] if duration is None else duration
        finish = finish if end is None else min(end, finish)
        ticks = max(1, math.ceil((finish - begin) * policy.fps - _SAME_TIME))
        shown = (bisect_right(timestamps, begin + k / policy.fps + _SAME_TIME) - 1 for k in range(ticks))
        return [min(max(index, first), stop - 1) for index in shown]
    return [first + index for index in RULES[policy.rule](stop - first, policy.count or 0)]


def _window(
    timestamps: Sequence[float], start: float | None, end: float | None, file: str | None
) -> tuple[int, int]:
    """Half-open range of the frames whose timestamp lies in [start, end)."""
    for name, value in (("start", start), ("end", end)):
        if value is not None and math.isnan(value):
            raise FramePolicyError(f"{name} is not a number", file=file, found=value, expected="seconds")
    first = 0 if start is None else _first_at_or_after(timestamps, start)
    stop = len(timestamps) if end is None else _first_at_or_after(timestamps, end)
    if first >= stop:
        span = f"{timestamps[0]:.3f} to {timestamps[-1]:.3f} s" if timestamps else "no frames"
        raise NoFramesError(
            "no frame lies within the asked time",
            file=file,
            found=f"[{'beginning' if start is None else start}, {'end' if end is None else end}) s",
            expected=f"some of the video's frames ({span})",
        )
    return first, stop


def _first_at_or_after(timestamps: Sequence[float], time: float) -> int:
    return bisect_right(timestamps, time - _SAME_TIME)


def _check_size(size: Any) -> int | tuple[int, int]:
    if isinstance(size, tuple | list):
        if len(size) != 2:
            raise FramePolicyError("a size has two numbers", found=size, expected="(height, width)")
        return _whole("size", size[0]), _whole("size", size[1])
    return _whole("size", size)


def _whole(name: str, value: Any, least: int = 1) -> int:
    """`value` as a plain int of at least `least` (NumPy integers welcome, bool and float refused)."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise FramePolicyError(
            f"{name} must be a whole number", found=repr(value), expected=f"at least {least}"
        )
    return int(value)
