"""The argument of `shapes:` as a record: which world, of which version, with which faults and looks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from synvita_data.errors import SourceError, choose
from synvita_data.schema import MISALIGNMENTS

from .layout import Geometry, geometry_of
from .noise import DEFAULT, NOISES, Noise, check_share
from .pixels import SYNTHETIC, Style, look, seed_of
from .splits import Split


@dataclass(frozen=True, slots=True)
class ShapesSpec:
    """The argument of `shapes:pairs=64,seed=0,samples=1`, each option optional, in any order.

    The options after `version` are of version 2: `shapes:version=2,unseen=purple+star+moves up,noise=videocon`.

    Attributes:
        pairs: how many pairs to draw where the triplets are drawn too (`--triplets shapes:…`); for
            triplets that exist already it says nothing.
        seed: of the world, and of the generator.
        samples: synthetic clips a pair.
        version: of the world.
        clips: seed of the clips, real and synthetic; None: `seed`.
        split: which concepts training names in contrast captions only (`unseen=`, `share=`).
        only: a split that all pairs are of (`only=train`); None: train, validation and test.
        noise: the generator's faults and the scorers' sight. Written as a name of `NOISES`, or a factor on the default
            rates; `random.KIND=`, `reverted.KIND=` and `reverted=` replace single rates.
        shift: how unlike the real clips synthetic ones look: 0 like them, 1 as the generator of version 1.

    Raises:
        SourceError: a value is out of range, or an option of version 2 without `version=2`.
    """

    pairs: int = 64
    seed: int = 0
    samples: int = 1
    version: int = 1
    clips: int | None = None
    split: Split = field(default_factory=Split)
    only: str | None = None
    noise: Noise = field(default_factory=lambda: DEFAULT)
    shift: float = 1.0

    def __post_init__(self) -> None:
        geometry_of(self.version)
        check_share(self.shift, "the appearance shift")
        choose(self.only or "train", ("train", "validation", "test"), "split", error=SourceError)
        numbers = {"pairs": 1, "seed": 0, "samples": 1, "clips": 0}
        for name, least in numbers.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise SourceError(
                    f"{name} of the shapes world is out of range", found=value, expected=f"from {least}"
                )
        if self.version == 1:
            plain = {"clips": None, "split": Split(), "only": None, "noise": DEFAULT, "shift": 1.0}
            changed = [name for name, value in plain.items() if getattr(self, name) != value]
            if changed:
                raise SourceError(
                    "this is an option of version 2 of the shapes world",
                    found=", ".join(changed),
                    fix="Add version=2",
                )

    @classmethod
    def parse(cls, argument: str) -> "ShapesSpec":
        """Raises `SourceError` for an unknown option or a value that does not fit it."""
        values: dict[str, str] = {}
        for part in filter(None, (piece.strip() for piece in argument.split(","))):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            rate, _, kind = name.partition(".")
            known = name in _READ or (rate in ("random", "reverted") and kind in MISALIGNMENTS)
            if not known or not sign or name in values or not _fits(name, value):
                raise SourceError(
                    "an option of shapes: cannot be used",
                    found=part,
                    expected="shapes:pairs=64,seed=0,samples=1, each at most once, pairs and samples from 1; "
                    "with version=2 also clips, unseen, share, only, noise, shift, random.KIND, reverted, reverted.KIND",
                )
            values[name] = value
        plain = {name: _READ[name](value) for name, value in values.items() if name in _PLAIN_OPTIONS}
        if "unseen" in values or "share" in values:
            unseen = tuple(each.strip() for each in values.get("unseen", "").split("+") if each.strip())
            plain["split"] = Split(unseen, float(values.get("share", Split().share)))
        if {name.partition(".")[0] for name in values} & {"noise", "random", "reverted"}:
            plain["noise"] = _noise(values)
        return cls(**plain)

    @property
    def geometry(self) -> Geometry:
        """The measures of the version."""
        return geometry_of(self.version)

    @property
    def clip_seed(self) -> int:
        """The seed of the clips."""
        return self.seed if self.clips is None else self.clips

    @property
    def name(self) -> str:
        """What video ids of this world begin with: what determines pairs and real clips is in it."""
        if self.version == 1:
            return f"s{self.seed}"
        parts = self.version, self.seed, self.clip_seed, *self.split.unseen, f"{self.split.share:.6f}"
        return f"w{self.version}-{seed_of('world', *parts):016x}"[:11]

    def styles(self, size: int = 96) -> tuple[Style, Style]:
        """How real and synthetic clips are filmed."""
        return look(0.0, size), look(self.shift, size)

    def generation(self, style: Style = SYNTHETIC) -> dict[str, Any]:
        """The generator's settings as they are published: JSON-ready, the same for all clips of a run."""
        config: dict[str, Any] = {"size": style.size, "frames": style.frames, "fps": style.fps}
        config["faults"] = dict(self.noise.random)
        if self.version > 1:
            config |= {"version": self.version, "reverted": dict(self.noise.reverted), "shift": self.shift}
        return config


def _whole(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(value)
    return int(value)


_PLAIN_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("pairs", "seed", "samples", "version", "clips"), _whole),
    "only": str,
    "shift": float,
}
_READ: Mapping[str, Callable[[str], Any]] = {
    **_PLAIN_OPTIONS,
    "unseen": str,
    "share": float,
    "noise": str,
    "reverted": float,
}


def _fits(name: str, value: str) -> bool:
    """Whether a value has the form of its option, and pairs and samples are from 1."""
    try:
        read = _READ.get(name, float)(value)
    except ValueError:
        return False
    return not (name in ("pairs", "samples") and read < 1)


def _noise(values: Mapping[str, str]) -> Noise:
    """From `noise=NAME_OR_FACTOR`, `reverted=SHARE` and single rates."""
    named = values.get("noise", "default")
    try:
        noise = DEFAULT.scaled(float(named))
    except ValueError:
        noise = NOISES[
            choose(named, NOISES, "noise", error=SourceError, fix="Or a factor on the default rates")
        ]
    if "reverted" in values:
        noise = noise.reverting(float(values["reverted"]))
    rates = {"random": dict(noise.random), "reverted": dict(noise.reverted)}
    for name, value in values.items():
        which, dot, kind = name.partition(".")
        if dot:
            rates[which][kind] = float(value)
    return Noise(random=rates["random"], reverted=rates["reverted"], sight=noise.sight)
