"""From triplets to a batch."""

from collections.abc import Sequence

from synvita_data.errors import SynvitaError

from .triplet import TrainingTriplet


class PackedCollator:
    """A batch for `SynViTATrainer`: the triplets as they are; the model packs each video's texts.

    Example: the loader's list `[triplet, triplet]` becomes

        {"triplets": [triplet, triplet]}

    Videos may differ in length and size, so nothing is stacked or padded here. Workers send tensors through shared
    memory; pinning and moving to a device leave the triplets alone, the model moves what it needs.

    Raises:
        SynvitaError: something else than triplets.
    """

    def __call__(self, triplets: Sequence[TrainingTriplet]) -> dict[str, list[TrainingTriplet]]:
        for triplet in triplets:
            if not isinstance(triplet, TrainingTriplet):
                raise SynvitaError(
                    "a batch holds something else than triplets",
                    found=type(triplet).__name__,
                    expected="TrainingTriplet",
                    fix="Give the trainer a TripletData of your dataset",
                )
        return {"triplets": list(triplets)}
