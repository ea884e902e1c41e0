"""What goes wrong in the shapes world: the generator's faults, of two kinds, and how its scorers see.

A `Noise` says how often a clip shows a random wrong thing, how often it shows the real caption instead, and how
sharply the frame-level scorers tell the difference. `NOISES` has the named ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from synvita_data.errors import SourceError, choose
from synvita_data.schema import MISALIGNMENTS

# How often a clip gets this wrong, where its caption says something of the kind.
FAULTS: Mapping[str, float] = MappingProxyType(
    {
        "attribute": 0.06,
        "object": 0.10,
        "action": 0.20,
        "count": 0.30,
        "relation": 0.30,
        "hallucination": 0.40,
        "flip": 0.50,
    }
)
NO_FAULTS: Mapping[str, float] = MappingProxyType(dict.fromkeys(FAULTS, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How all the scorers see; the default changes nothing.

    Attributes:
        sharpness: factor on the log-odds that the facts of a frame give.
        spread: standard deviation of that factor's logarithm between clips: in some clips much can be told.
        focus: how far the worst fact of a frame counts instead of the mean of all facts, in [0, 1].
        text: standard deviation of log-odds that belong to a clip and a caption, the same for all frames and models.
        unnatural: log-odds that a contrast caption loses because a language model wrote it.
    """

    sharpness: float = 1.0
    spread: float = 0.0
    focus: float = 0.0
    text: float = 0.0
    unnatural: float = 0.0

    def __post_init__(self) -> None:
        check_share(self.focus, "the focus of the scorers")
        if self.sharpness < 0 or self.spread < 0 or self.text < 0:
            raise SourceError(
                "scorers cannot see like this",
                found=f"sharpness={self.sharpness}, spread={self.spread}, text={self.text}",
                expected="numbers from 0",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The faults of the generator, and the sight of the scorers.

    Attributes:
        random: by kind of fact, how often a clip shows a random wrong thing where its caption says something of the
            kind; a kind that is not named: never.
        reverted: by misalignment of the pair, how often its clip shows the real caption instead of the contrast
            caption; one that is not named: never.
        sight: of the scorers.

    Raises:
        SourceError: an unknown kind, or a rate that is not in [0, 1].
    """

    random: Mapping[str, float] = field(default_factory=lambda: FAULTS)
    reverted: Mapping[str, float] = field(default_factory=dict)
    sight: Sight = field(default_factory=Sight)

    def __post_init__(self) -> None:
        for what, rates in (("random", self.random), ("reverted", self.reverted)):
            for kind, rate in rates.items():
                choose(kind, MISALIGNMENTS, f"misalignment of the {what} faults", error=SourceError)
                check_share(rate, f"the rate of {what} faults of kind {kind}")

    def scaled(self, factor: float) -> "Noise":
        """With all random faults `factor` times as often.

        Raises:
            SourceError: a rate leaves [0, 1].
        """
        return replace(self, random={kind: rate * factor for kind, rate in self.random.items()})

    def reverting(self, share: float) -> "Noise":
        """With this share of the clips of every misalignment showing the real caption.

        Raises:
            SourceError: `share` is not in [0, 1].
        """
        return replace(self, reverted=dict.fromkeys(MISALIGNMENTS, share))

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        sight = self.sight
        return {
            "random": dict(self.random),
            "reverted": dict(self.reverted),
            "sight": {
                name: getattr(sight, name) for name in ("sharpness", "spread", "focus", "text", "unnatural")
            },
        }


def check_share(value: float, what: str) -> float:
    """`value`, which must be in [0, 1].

    Raises:
        SourceError: it is not.
    """
    if not 0.0 <= value <= 1.0:  # NaN compares false
        raise SourceError(f"{what} is not a share", found=value, expected="a number in [0, 1]")
    return value


DEFAULT = Noise()
NONE = Noise(random=NO_FAULTS)
# Fitted to the weights of 16,856 real triplets of the misalignments action and flip (`calibration`). The fitted share of
# reverted clips was 0, and the rates of random faults are the default ones.
VIDEOCON = Noise(sight=Sight(sharpness=1.758, spread=0.037, focus=0.42, text=1.048, unnatural=0.735))
NOISES: dict[str, Noise] = {"default": DEFAULT, "none": NONE, "videocon": VIDEOCON}
