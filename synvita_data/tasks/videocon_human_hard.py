"""VideoCon (Human-Hard): the rows of VideoCon (Human) that need time to be understood (`hard` is true)."""

from dataclasses import replace

from . import videocon_human
from .task import Expected

TASK = replace(
    videocon_human.TASK,
    name="videocon-human-hard",
    title="VideoCon (Human-Hard)",
    description="VideoCon (Human), only the pairs marked as temporally challenging (`hard` is true).",
    column="VideoCon (Human-Hard)",
    expected={"texts": Expected(290)},
    only_hard=True,
)
