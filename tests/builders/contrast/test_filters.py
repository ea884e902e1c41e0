"""Filters by tiny models of real classes: labels from settings, batches, thresholds, videos that are not there."""

import json
import shutil

import numpy as np
import pytest

from synvita_data.builders.contrast.filters import FrameVqaFilter, NliFilter, entailment_label
from synvita_data.errors import SourceError, SynvitaError
from synvita_data.schema import Triplet
from synvita_data.testing import make_tiny
from synvita_data.testing.text_models import NLI_LABELS
from synvita_data.video import encode_mp4

PAIRS = [
    ("a dog runs", "a cat runs"),
    ("a dog runs on the wide beach with a ball", "a dog runs on the wide beach without any ball " * 5),
    ("two men sing", "two men sing"),
    ("一个男人", "a man, and then a woman"),
    ("a woman opens the door", "a woman closes the door"),
]


@pytest.fixture(scope="module")
def nli(tmp_path_factory):
    return make_tiny("nli", tmp_path_factory.mktemp("models") / "tiny-nli")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return make_tiny("llava", tmp_path_factory.mktemp("models") / "tiny-llava")


# -- NLI --------------------------------------------------------------------------------------------------


def probabilities(folder, pairs, label):
    """By the stock model, a pair at a time, without padding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = [model(**tokenizer(*pair, return_tensors="pt")).logits[0] for pair in pairs]
    return [float(each.softmax(-1)[label]) for each in logits]


def test_scores_are_those_of_the_stock_model(nli):
    found = NliFilter(str(nli), device="cpu", batch_size=2).check(PAIRS)
    expected = probabilities(nli, PAIRS, NLI_LABELS.index("entailment"))
    assert [verdict.score for verdict in found] == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 4) for score in expected}) == len(PAIRS)  # else the test proves little
    for verdict, score in zip(found, expected, strict=True):
        assert verdict.kept == (score < 0.5)
        assert (verdict.model, verdict.threshold) == ("tiny-nli", 0.5)
        assert (verdict.reason is None) == verdict.kept


def test_a_verdict_does_not_depend_on_the_batch(nli):
    one = NliFilter(str(nli), device="cpu", batch_size=4)
    together = one.check(PAIRS)
    assert [one.check([pair])[0] for pair in reversed(PAIRS)] == together[::-1]
    assert one.check([]) == []


def test_the_threshold_decides(nli):
    scores = [verdict.score for verdict in NliFilter(str(nli), device="cpu").check(PAIRS)]
    middle = sorted(scores)[2]
    found = NliFilter(str(nli), device="cpu", threshold=middle).check(PAIRS)
    assert [verdict.kept for verdict in found] == [score < middle for score in scores]
    assert sum(verdict.kept for verdict in found) == 2  # at the threshold a row is dropped
    assert all("entails" in verdict.reason for verdict in found if not verdict.kept)


def test_labels_are_read_from_the_settings(nli, tmp_path):
    """The same weights under labels in another order: the verdict follows the label."""
    turned = shutil.copytree(nli, tmp_path / "turned")
    config = json.loads((turned / "config.json").read_text())
    config["id2label"] = {"0": "ENTAILMENT", "1": "NEUTRAL", "2": "CONTRADICTION"}
    config["label2id"] = {name: int(key) for key, name in config["id2label"].items()}
    (turned / "config.json").write_text(json.dumps(config))
    found = NliFilter(str(turned), device="cpu").check(PAIRS)
    assert [verdict.score for verdict in found] == pytest.approx(probabilities(nli, PAIRS, 0), abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "number"),
    [
        ({0: "entailment", 1: "not_entailment"}, 0),
        ({"0": "not_entailment", "1": " Entailment "}, 1),
        ({"0": "contradiction", "1": "entailed", "2": "neutral"}, 1),
        ({"0": "entailment"}, 0),
    ],
)
def test_a_label_that_says_entailment_is_found(labels, number):
    assert entailment_label({"id2label": labels}, "a model") == number


@pytest.mark.parametrize(
    "labels",
    [
        None,
        [],
        {},
        {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
        {"0": "not_entailment", "1": "non-entailment"},
        {"0": "POSITIVE", "1": "NEGATIVE"},
        {"0": "entailment", "1": "entails"},
        {"first": "entailment"},
    ],
)
def test_labels_are_never_assumed(labels):
    with pytest.raises(SynvitaError, match="entailment"):
        entailment_label({"id2label": labels}, "a model")


def test_pairs_that_the_model_cannot_read_are_not_kept(nli):
    long, special, good = NliFilter(str(nli), device="cpu").check(
        [("a dog runs " * 600, "a cat runs " * 600), ("a dog [SEP] runs", "a cat runs"), PAIRS[0]]
    )
    assert (long.kept, long.score) == (special.kept, special.score) == (False, None)
    assert "too long" in long.reason
    assert "special token" in special.reason
    assert good.score is not None


def test_what_is_no_classifier_is_refused_at_once(tmp_path, nli):
    with pytest.raises(SynvitaError, match="cannot be found"):
        NliFilter(str(tmp_path / "nothing"))
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(SynvitaError, match="no label"):
        NliFilter(str(tmp_path / "clip"))
    for wrong in ({"threshold": 0}, {"threshold": 1.5}, {"batch_size": 0}):
        with pytest.raises(SynvitaError, match="out of range"):
            NliFilter(str(nli), **wrong)


def test_a_classifier_without_its_head_is_refused(nli, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(nli, tmp_path / "copy")
    weights = {k: v for k, v in load_file(copy / "model.safetensors").items() if "classifier" not in k}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SynvitaError, match="does not hold all weights"):
        NliFilter(str(copy), device="cpu").check(PAIRS)


def test_records_are_public_and_tell_what_decides(nli, llava, tmp_path):
    (tmp_path / "real").mkdir()
    filters = [
        NliFilter(str(nli), device="cpu"),
        NliFilter(str(nli), device="cpu", threshold=0.4),
        NliFilter(str(nli), dtype="bfloat16"),
        FrameVqaFilter(str(llava), tmp_path / "real", device="cpu"),
        FrameVqaFilter(str(llava), tmp_path / "real", device="cpu", frames=2),
        FrameVqaFilter(str(llava), tmp_path / "real", device="cpu", require_video=True),
    ]
    records = [json.dumps(each.record()) for each in filters]
    assert len(set(records)) == len(records)
    assert str(tmp_path) not in "".join(records)
    assert str(nli.parent) not in "".join(records)


# -- frames -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    root = tmp_path_factory.mktemp("real") / "msrvtt"
    root.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 32, 48, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, root / f"video{number}.mp4")
    (root / "video7.mp4").write_bytes(b"this is no video")
    pixels = np.zeros((2, 32, 48, 3), np.uint8)
    encode_mp4(pixels, 8, root / "video8.mp4")
    return root


def row(number, caption="a dog runs", **more):
    name = f"video{number}"
    return Triplet(
        source="msr-vtt", video_id=name, videopath=name, caption=caption, neg_caption="a cat runs", **more
    )


def test_the_score_is_vqascore_of_each_frame_averaged(llava, real):
    """Against the scorer itself, frame by frame."""
    from synvita_data.builders.vqascore.models import find_model, open_scorer
    from synvita_data.builders.vqascore.run import score_of
    from synvita_data.video import FramePolicy, decode

    asked = FrameVqaFilter(str(llava), real, device="cpu", frames=3)
    rows = [row(0), row(1), row(0, "two women sing")]
    found = asked.check(rows)
    scorer = open_scorer(find_model(str(llava)), device="cpu")
    for verdict, each in zip(found, rows, strict=True):
        file, by_frame = real / f"{each.video_id}.mp4", []
        for index in decode(file, FramePolicy(count=3)).indices:
            one = decode(file, FramePolicy(indices=(index,)))
            log_probs = scorer.log_probs([scorer.prepare(one, (each.caption,))])[0]
            by_frame.append(score_of(log_probs[0, 0].tolist(), "reference"))
        assert verdict.score == pytest.approx(sum(by_frame) / 3, abs=1e-6)
        assert (verdict.kept, verdict.reason) == (True, None)  # random weights say yes to nothing
    assert len({verdict.score for verdict in found}) == 3
    assert [asked.check([each])[0] for each in rows] == found


def test_what_one_frame_tells_is_dropped(llava, real):
    scores = [
        verdict.score for verdict in FrameVqaFilter(str(llava), real, device="cpu").check([row(0), row(1)])
    ]
    threshold = max(scores)
    found = FrameVqaFilter(str(llava), real, device="cpu", threshold=threshold).check([row(0), row(1)])
    assert [verdict.kept for verdict in found] == [score < threshold for score in scores]
    assert [verdict.kept for verdict in found].count(False) == 1
    assert "one frame tells" in next(verdict.reason for verdict in found if not verdict.kept)


def test_rows_without_a_video_are_kept_or_dropped(llava, real):
    """No file, no video in it, fewer frames than are asked for, a caption that the model cannot read."""
    rows = [row(5), row(7), row(8), row(0, "a dog <image> runs"), row(0, start=100.0, end=110.0), row(1)]
    found = FrameVqaFilter(str(llava), real, device="cpu").check(rows)
    assert [verdict.score is None for verdict in found] == [True] * 5 + [False]
    assert all(verdict.kept for verdict in found)
    assert all(verdict.reason for verdict in found[:5])
    strict = FrameVqaFilter(str(llava), real, device="cpu", require_video=True).check(rows)
    assert [verdict.kept for verdict in strict] == [False] * 5 + [True]
    assert [verdict.reason for verdict in strict] == [verdict.reason for verdict in found]


def test_weights_are_not_read_where_there_is_no_video(llava, tmp_path):
    (tmp_path / "real").mkdir()
    copy = shutil.copytree(llava, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"")
    asked = FrameVqaFilter(str(copy), tmp_path / "real", device="cpu")
    assert asked.check([row(0)])[0].reason == "no real video"
    asked.close()


def test_no_folder_or_no_model(llava, tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        FrameVqaFilter(str(llava), tmp_path / "nothing")
    with pytest.raises(SynvitaError, match="cannot be found"):
        FrameVqaFilter(str(tmp_path / "nothing"), tmp_path)
    with pytest.raises(SynvitaError, match="unknown score"):
        FrameVqaFilter(str(llava), tmp_path, score="best")
