"""One triplet ready to be trained on: what collators make and losses read."""

from dataclasses import dataclass

from synvita_data.captions.text import Text
from synvita_data.models import EncodedVideo, PreparedVideo

# The four texts of a triplet, in the order of every tensor's last axis; a video's own text and the other's.
TEXTS = ("caption", "neg_caption", "caption_masked", "neg_caption_masked")
# The two videos of a triplet, in the order of every tensor's axis before it.
VIDEOS = ("real", "synthetic")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTriplet:
    """A triplet with its videos prepared on the CPU.

    Attributes:
        row_id, pair_id: of the dataset.
        texts: in the order of TEXTS; the masked ones hide what the other caption does not share.
        real, synthetic: prepared (or, from a feature cache, encoded) videos; None where there is none to
            train on: not available, or, of the synthetic one, weight 0.
        weight: ω in [0, 1]; 0 where `synthetic` is None.
        takes_real: whether this row takes L_real. Rows that share a pair take it once; never without `real`.
        explanation: the answer to the NLE question about `neg_caption` and the real video, None for none.
        zero_weight: there is a synthetic video, and `synthetic` is None because its weight is 0. It costs no
            time; `released` normalisation counts its answers, as the released code does.
    """

    row_id: str
    pair_id: str
    texts: tuple[Text, Text, Text, Text]
    real: PreparedVideo | EncodedVideo | None
    synthetic: PreparedVideo | EncodedVideo | None
    weight: float
    takes_real: bool
    explanation: str | None = None
    zero_weight: bool = False
