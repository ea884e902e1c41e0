"""One triplet ready to be trained on: what collators make and losses read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError

if TYPE_CHECKING:  # which would import torch
    from synvita_data.models import EncodedVideo, PreparedVideo

# The four texts of a triplet, in the order of every tensor's last axis; a video's own text and the other's.
TEXTS = ("caption", "neg_caption", "caption_masked", "neg_caption_masked")
# The two videos of a triplet, in the order of every tensor's axis before it.
VIDEOS = ("real", "synthetic")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTriplet:
    """A triplet with its videos prepared on the CPU.

    Attributes:
        row_id: `id` of the dataset.
        pair_id: `pair_id` of the dataset.
        texts: in the order of TEXTS; the masked ones hide what the other caption does not share.
        real: prepared (or, from a feature cache, encoded) real video; None where it is not available.
        synthetic: the same of the synthetic video; also None where its weight is 0.
        weight: ω in [0, 1]; 0 where `synthetic` is None.
        takes_real: whether this row takes L_real. Rows that share a pair take it once; never without `real`.
        explanation: the answer to the NLE question about `neg_caption` and the real video, None for none.
        zero_weight: there is a synthetic video, and `synthetic` is None because its weight is 0. It costs no
            time; `released` normalisation counts its answers, as the released code does.

    Raises:
        SynvitaError: a weight outside [0, 1], or flags that do not fit the videos.
    """

    row_id: str
    pair_id: str
    texts: tuple[Text, Text, Text, Text]
    real: "PreparedVideo | EncodedVideo | None"
    synthetic: "PreparedVideo | EncodedVideo | None"
    weight: float
    takes_real: bool
    explanation: str | None = None
    zero_weight: bool = False

    def __post_init__(self) -> None:
        problem, expected = None, None
        if not 0 <= self.weight <= 1:  # also NaN
            problem, expected = "a weight is outside [0, 1]", "0 <= weight <= 1"
        elif self.synthetic is None and self.weight:
            problem, expected = "a triplet without a synthetic video has a weight for it", "weight 0"
        elif self.takes_real and self.real is None:
            problem = "a triplet without a real video takes L_real"
        if problem is not None:
            raise SynvitaError(problem, row=self.row_id, found=f"weight {self.weight}", expected=expected)
