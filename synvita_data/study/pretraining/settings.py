"""What a pre-training is made of: sizes, steps, rates, and the combinations that it never sees."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from synvita_data.errors import SynvitaError

# A pair of colour and shape for every colour that no clip and no statement of the pre-training names.
HELD_OUT = frozenset(
    {
        ("red", "triangle"),
        ("green", "star"),
        ("blue", "circle"),
        ("yellow", "square"),
        ("purple", "triangle"),
        ("cyan", "star"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How often what is drawn and asked. With statements about movements and places as rare as others, neither is learned.

    Attributes:
        scenes: misalignment -> how often its templates draw a scene. `action` and `flip` give one shape, two together, two
            events and two in turn; what is rare in VideoCon's kinds is drawn often enough to learn.
        noun, relation, count, lone, act: of statements about a part, beside one another where a scene has it: a colour and
            a shape; where a shape is seen from another; how many of several shapes there are, and of one; one shape and one
            thing that it does.
        action, attribute, object: of what is false of the last.
        shape: of statements about a noun, those whose shape is false; in the others it is the colour.
    """

    scenes: Mapping[str, float] = field(
        default_factory=lambda: {
            "action": 3.0,
            "flip": 3.0,
            "count": 1.2,
            "relation": 3.5,
            "hallucination": 3.0,
        }
    )
    noun: float = 4.0
    relation: float = 6.0
    count: float = 1.5
    lone: float = 0.3
    act: float = 5.0
    action: float = 4.0
    attribute: float = 1.0
    object: float = 2.0
    shape: float = 0.6


USUAL = Shares()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The defaults are those of the shipped models.

    Attributes:
        seed: of weights, clips, statements and batches.
        image_size, patch_size: pixels.
        frames: of a clip that the model looks at.
        width, layers, heads: of the language model; its feed-forward layers are twice as wide.
        tower_width, tower_layers: of the vision tower; its feed-forward layers are four times as wide.
        clips: how many different clips to draw.
        tower_steps, tower_batch, tower_rate: of the first stage, which sees single frames.
        tower_matrix_rate, matrix_rate: of hidden layers' matrices, in the first and in the second stage (`optimiser`).
        tower_share: of the tower's rates in the second stage in those of the others; it has learned already.
        grey: share of frames of the first stage without colours, so that shapes are told without them.
        steps, early, batch, rate: of the second stage; after `early` steps the earlier state is kept.
        more, more_share: steps of a second cycle of the second stage, which begins anew with this share of its rates; 0
            for none, as the shipped models have.
        pairs: true and false statements behind each clip.
        warm_up: steps over which a rate rises.
        whole: shares of statements about the whole clip, at the first and at the last step.
        hard: share of contrasts of a direction that name another direction.
        shares: of scenes and of kinds of statements.
        detection: weight of the detection loss in the second stage.
        words: weights of the next-token loss, at the first and at the last step.
        log_every: steps between two lines of the log.
    """

    seed: int = 0
    image_size: int = 48
    patch_size: int = 16
    frames: int = 8
    width: int = 96
    layers: int = 4
    heads: int = 4
    tower_width: int = 96
    tower_layers: int = 2
    clips: int = 10_000
    tower_steps: int = 6000
    tower_batch: int = 96
    tower_rate: float = 3e-3
    tower_matrix_rate: float = 1.2e-2
    grey: float = 0.4
    steps: int = 4500
    early: int = 1500
    batch: int = 24
    rate: float = 8e-4
    matrix_rate: float = 4e-3
    tower_share: float = 0.2
    more: int = 0
    more_share: float = 0.6
    pairs: int = 3
    warm_up: int = 60
    whole: tuple[float, float] = (0.2, 0.6)
    hard: float = 0.5
    shares: Shares = USUAL
    detection: float = 1.0
    words: tuple[float, float] = (1.0, 0.3)
    log_every: int = 150

    def __post_init__(self) -> None:
        if self.seed < 0 or not 0 < self.early <= self.steps:
            raise SynvitaError(
                "these settings make no pre-training",
                found=f"seed={self.seed}, early={self.early}, steps={self.steps}",
                expected="a seed from 0, and an earlier state between the first and the last step",
            )
        if self.image_size % self.patch_size:
            raise SynvitaError(
                "an image is not a whole number of patches",
                found=f"image_size={self.image_size}, patch_size={self.patch_size}",
            )

    @property
    def grid(self) -> int:
        """Patches along an edge of a frame."""
        return self.image_size // self.patch_size

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)
