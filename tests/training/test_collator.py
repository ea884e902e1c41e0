"""The packed collator: the exact batch of a worked example."""

import pytest
import torch
from small_triplets import CAPTIONS, expected_pixels, mp4, pixels, row, tiny_model

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.training import PackedCollator, TripletData


def test_a_batch_of_two_triplets():
    rows = [row(0), row(1, real_video=None, real_available=False)]
    data = TripletData(rows, tiny_model())
    batch = PackedCollator()([data[0], data[1]])
    assert list(batch) == ["triplets"]
    first, second = batch["triplets"]
    masked = tuple(Text(caption, ((6, 9),)) for caption in CAPTIONS)
    assert first.texts == second.texts == (Text(CAPTIONS[0]), Text(CAPTIONS[1]), *masked)
    assert [first.takes_real, second.takes_real] == [True, False]
    assert [first.weight, second.weight] == [0.125, 0.125]
    assert second.real is None
    for video, source in ((first.real, 0), (first.synthetic, 1), (second.synthetic, 3)):
        assert torch.equal(pixels(video), expected_pixels(mp4(source)))


def test_pinning_and_moving_leave_triplets_alone():
    from accelerate.utils import send_to_device

    triplet = TripletData([row(0)], tiny_model())[0]
    batch = PackedCollator()([triplet])
    assert send_to_device(batch, torch.device("cpu"))["triplets"][0] is triplet


def test_only_triplets_are_collated():
    with pytest.raises(SynvitaError, match="something else than triplets"):
        PackedCollator()([row(0)])
