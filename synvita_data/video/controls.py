"""Does a model watch? Controls that take the video away from it, or one thing of it, and leave all else as it is.

A benchmark whose questions can be answered without the video (TVBench, MVP), or from one frame of it, says little about
video: a model's score is read beside its score under a control.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import choose
from .frames import Frames

CONTROLS = ("text", "frame", "reverse", "shuffle")


@dataclass(frozen=True, slots=True)
class Control:
    """What is taken away.

    Attributes:
        name: `text`: the prompt without its video, which is not opened. `frame`: the middle one of the sampled frames
            in the place of each (of an even number the later of the two in the middle). `reverse`, `shuffle`: the
            sampled frames in another order. Times that a model is shown stay in their places.
        seed: of `shuffle`; a video's order depends on it and on the video's id.

    Raises:
        SynvitaError: an unknown name.
    """

    name: str
    seed: int = 0

    def __post_init__(self) -> None:
        choose(self.name, CONTROLS, "control")

    @property
    def watches(self) -> bool:
        """Whether the video is looked at."""
        return self.name != "text"

    @property
    def settings(self) -> dict[str, Any]:
        """What scores depend on, for results and keys."""
        return {"control": self.name} | ({"control_seed": self.seed} if self.name == "shuffle" else {})

    def settings_of(self, video_id: str) -> dict[str, Any]:
        """What the frames of one video depend on, for keys of work on them."""
        return self.settings | ({"control_video": video_id} if self.name == "shuffle" else {})

    def order(self, indices: Sequence[int], video_id: str) -> list[int]:
        """Which of the sampled frames stands in each place.

        Args:
            indices: of the frames in the file; equal ones are one frame.
            video_id: of the annotations.

        Returns:
            Places in `indices`, as many; for `shuffle` such that the frames do not come in their own order, where two
            of them differ.
        """
        places = list(range(len(indices)))
        if self.name == "frame":
            return [len(places) // 2] * len(places)
        if self.name == "reverse":
            return places[::-1]
        if self.name == "shuffle" and len(set(indices)) > 1:
            # Python promises the numbers of `random.random` for ever, which it does not of `shuffle`.
            draws = random.Random(f"{self.seed} {video_id}")
            own = list(indices)
            while [indices[place] for place in places] == own:
                keys = [draws.random() for _ in places]
                places = sorted(range(len(indices)), key=keys.__getitem__)
        return places

    def apply(self, frames: Frames, video_id: str) -> tuple[Frames, tuple[int, ...]]:
        """The frames as the model sees them, and which frames of the file these are, in the order shown.

        Only the pixels change places: indices and times of the `Frames` are what the model is told.
        """
        order = self.order(frames.indices, video_id)
        return replace(frames, pixels=frames.pixels[order]), tuple(frames.indices[place] for place in order)


def asked_but_for_control(model: Mapping[str, Any], policy: Any, *, watches: bool) -> dict[str, Any]:
    """What scores depend on beside their texts and the control, by name. A difference of two results is what a control
    takes away only where all of it is equal.

    Args:
        model: of a result file.
        policy: how its frames were chosen.
        watches: False where one of the two results is of a control that looks at no video.
    """
    taken = Control("shuffle").settings
    settings = {
        f"setting {name}": value for name, value in model.get("settings", {}).items() if name not in taken
    }
    asked = {name: model.get(name) for name in ("kind", "prompt", "revision")}
    return asked | ({"frame policy": policy} if watches else {}) | settings


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """`another prompt, setting dtype`: names whose values differ; None for none."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    return f"another {', '.join(names)}" if names else None
