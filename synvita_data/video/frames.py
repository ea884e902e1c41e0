"""Decoded frames with the record of where they came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
