"""The batch of a stock model: every tensor of a worked example, and what cannot be collated."""

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from stock_pairs import clip, triplets_of

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import EncodedVideo, PreparedVideo
from synvita_data.training.stock.collator import StockCollator
from synvita_data.training.stock.labels import COLUMNS, COUNTED, StockLabels
from synvita_data.video import Frames

TEXTS = (Text("dogs run"), Text("a cat"), Text("dogs run", ((0, 4),)), Text("a cat", ((2, 5),)))
FULL = {"texts": TEXTS, "real": clip(0), "synthetic": clip(1), "weight": 0.3, "takes_real": True}
REAL_ONLY = {**FULL, "synthetic": None, "weight": 0.0, "zero_weight": True}

# Four frames of 2 x 2 patches and a class token. The caption begins at token 33.
BEFORE = ["<s>", "▁USER", ":", "▁", *["<video>"] * 20, "<0x0A>"]
BEFORE += ["Does", "▁this", "▁video", "▁entail", "▁the", "▁description", ":", '▁"']
AFTER = ['"?', "▁ASSISTANT", ":"]
OWN = [*BEFORE, "d", "o", "g", "s", "▁run", *AFTER]  # its answer is predicted at 40
CONTRAST = [*BEFORE, "a", "▁cat", *AFTER]  # at 37
PADDING = "<unk>"


@pytest.fixture(scope="module")
def model_and_processor(tmp_path_factory):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from synvita_data.testing import make_tiny

    folder = make_tiny("video_llava", tmp_path_factory.mktemp("video_llava"))
    return AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


def test_a_worked_example(model_and_processor):
    model, processor = model_and_processor
    collator = StockCollator(model, processor, answer_loss="token-and-end")
    triplets = triplets_of([FULL, REAL_ONLY], collator)
    batch = collator(triplets)
    assert list(batch) == [
        "labels",
        "input_ids",
        "attention_mask",
        "position_ids",
        "pixel_values_videos",
        "use_cache",
        "logits_to_keep",
    ]
    # Rows: both videos of the first triplet with their four texts, the real video of the second with two.
    yes_no = ([*OWN, "▁Yes"], [*CONTRAST, "▁No"])
    no_yes = ([*OWN, "▁No"], [*CONTRAST, "▁Yes"])
    tokens = [*yes_no, OWN, CONTRAST, *no_yes, OWN, CONTRAST, *yes_no]
    length = 42
    padded = [row + [PADDING] * (length - len(row)) for row in tokens]
    assert [processor.tokenizer.convert_ids_to_tokens(row.tolist()) for row in batch["input_ids"]] == padded
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in tokens])
    mask[[2, 6], 33:37] = 0  # d o g s
    mask[[3, 7], 34] = 0  # cat
    assert torch.equal(batch["attention_mask"], mask)
    counting = torch.tensor([[*range(len(row))] + [0] * (length - len(row)) for row in tokens])
    assert torch.equal(batch["position_ids"], counting)
    assert {batch[name].dtype for name in ("input_ids", "attention_mask", "position_ids")} == {torch.int64}
    # Pixels of the processor, one video a row.
    real, synthetic = (
        processor.video_processor(
            videos=[torch.from_numpy(clip(seed).pixels).permute(0, 3, 1, 2)], return_tensors="pt"
        )["pixel_values_videos"]
        for seed in (0, 1)
    )
    assert torch.equal(batch["pixel_values_videos"], torch.cat([*[real] * 4, *[synthetic] * 4, real, real]))
    assert batch["use_cache"] is False
    assert batch["logits_to_keep"].tolist() == [37, 38, 40, 41]
    # Labels: never counted, mark, bits of the weight in fp32, flags (real, synthetic, L_real, has synthetic),
    # rows, length, kept, masked texts there, Yes, No, end; then rows, positions and kept places of eight pairs.
    (bits,) = struct.unpack("<i", struct.pack("<f", 0.3))
    ids = processor.tokenizer.convert_tokens_to_ids(["▁Yes", "▁No", "</s>"])
    head = [10, 42, 4, 1, *ids]
    first = [-100, 0x53796E56, bits, 0b1111, *head, *range(8), *[40, 37] * 4, *[2, 0] * 4]
    absent = [-1] * 6
    second = [-100, 0x53796E56, 0, 0b1101, *head, 8, 9, *absent, 40, 37, *absent, 2, 0, *absent]
    assert batch["labels"].tolist() == [first, second]
    # What a Trainer counts, whether it shifts labels or not.
    assert len(first) == COLUMNS
    for counted in (batch["labels"], batch["labels"][..., 1:]):
        assert int(counted.ne(-100).sum()) == 2 * COUNTED


def test_labels_come_back_as_they_were(model_and_processor):
    collator = StockCollator(*model_and_processor, consistency=False, logits_to_keep=False)
    batch = collator(triplets_of([FULL, REAL_ONLY, {**FULL, "real": None, "takes_real": False}], collator))
    assert "logits_to_keep" not in batch
    found = StockLabels.decode(batch["labels"])
    assert found.supervision.present.tolist() == [[True, True], [True, False], [False, True]]
    assert torch.equal(found.supervision.weight, torch.tensor([0.3, 0.0, 0.3]))
    assert found.supervision.takes_real.tolist() == [True, True, False]
    assert found.supervision.has_synthetic.tolist() == [True, True, True]
    assert (found.batch, found.length, found.kept, found.consistency, found.end) == (8, 41, 41, False, -1)
    none = [-1, -1]
    assert found.rows.tolist() == [
        [[0, 1, *none], [2, 3, *none]],
        [[4, 5, *none], none * 2],
        [none * 2, [6, 7, *none]],
    ]
    assert torch.equal(found.places((8, 41, 900)), found.positions)
    assert torch.equal(found.encode(), batch["labels"])


def test_a_batch_that_trains_nothing_still_has_a_row(model_and_processor):
    """Another process may train something, and waits for this one's gradients."""
    collator = StockCollator(*model_and_processor)
    idle = {**REAL_ONLY, "takes_real": False}
    batch = collator(triplets_of([idle], collator))
    assert batch["input_ids"].shape == (1, 41)
    with pytest.raises(SynvitaError, match="no triplet of this batch has a video"):
        collator(triplets_of([{**idle, "real": None}], collator))


def test_what_cannot_be_collated(model_and_processor):
    model, processor = model_and_processor
    collator = StockCollator(model, processor)
    (triplet,) = triplets_of([FULL], collator)
    with pytest.raises(SynvitaError, match=r"not triplets.*remove_unused_columns=False"):
        collator([{"caption": "a dog"}])
    with pytest.raises(SynvitaError, match=r"explanations.*nle_share=0"):
        collator([replace(triplet, explanation="It is a dog.")])
    cached = EncodedVideo(PreparedVideo({}, "<video>", (20,)), {"patches": torch.zeros(4, 5, 32)})
    with pytest.raises(SynvitaError, match="needs the pixels"):
        collator([replace(triplet, real=cached)])
    short = Frames(np.zeros((2, 48, 64, 3), np.uint8), (0, 1), (0.0, 0.25), 4.0, "short", "none")
    with pytest.raises(SynvitaError, match="do not stack"):
        collator([replace(triplet, real=collator.preparer().prepare(short))])
    with pytest.raises(SynvitaError, match=r"row row0: a weight is outside"):
        collator([replace(triplet, weight=1.5)])
    with pytest.raises(SynvitaError, match="DataParallel"):
        StockCollator(torch.nn.DataParallel(torch.nn.Linear(1, 1)), processor)
    with pytest.raises(SynvitaError, match="unknown answer_loss"):
        StockCollator(model, processor, answer_loss="mse")
