"""Frame–text cosine beside a computation with the stock model and processor.

One file, so that transformers is imported in one process.
"""

import json
import shutil

import numpy as np
import pytest

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models.resolve import ModelFiles
from synvita_data.models.runtime import one_cpu_thread, pick_device
from synvita_data.scoring import Scorer, ScoringItem
from synvita_data.scoring.open import open_scorer
from synvita_data.testing import make_tiny
from synvita_data.video import FramePolicy, MissingBackendError, decode, encode_mp4

LONG = "a large red star moves left and then " * 12
TEXTS = ("a red star moves left", "a blue circle moves right", LONG)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_tiny("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor
    from transformers.trainer_utils import set_seed

    from synvita_data.testing.tokenizer import clip_tokenizer

    folder = tmp_path_factory.mktemp("siglip")
    tokenizer = clip_tokenizer()
    towers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    set_seed(0)
    model = SiglipModel(
        SiglipConfig(
            text_config={**towers, "vocab_size": len(tokenizer), "max_position_embeddings": 24},
            vision_config={**towers, "image_size": 28, "patch_size": 14},
        )
    )
    model.save_pretrained(folder)
    pictures = SiglipImageProcessor(size={"height": 28, "width": 28})
    SiglipProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three short clips of coloured noise, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number, count in enumerate((20, 9, 5)):
        rng = np.random.default_rng(number)
        still = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        drift = np.arange(count, dtype=np.uint8)[:, None, None, None] * 6
        encode_mp4(still // 2 + drift, 8, folder / f"{number}.mp4")
    (folder / "broken.mp4").write_bytes(b"no video at all" * 50)
    return folder


def item(path, texts=TEXTS, **times):
    return ScoringItem(
        f"t:{path.stem}",
        path.stem,
        path,
        tuple(map(Text, texts)),
        tuple(map(str, range(len(texts)))),
        **times,
    )


def scores(scorer, items):
    return {answer.item_id: answer for answer in scorer.score(items)}


def midpoints(frames, count):
    """Middle frame of each of `count` equal parts."""
    return tuple(int((part + 0.5) * frames / count) for part in range(count))


def stock_scores(folder, path, frames, texts, *, padding, max_length):
    """Mean cosine of all frames and each text, by transformers' classes of the folder, all in one batch."""
    import torch
    from transformers import AutoModel, AutoProcessor

    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    pixels = decode(path, FramePolicy(indices=frames)).pixels
    inputs = processor(
        text=list(texts),
        images=list(pixels),
        return_tensors="pt",
        padding=padding,
        truncation=True,
        max_length=max_length,
    )
    with torch.inference_mode():
        output = model(**inputs)
    images = output.image_embeds.numpy().astype(np.float64)
    words = output.text_embeds.numpy().astype(np.float64)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return (words @ images.T).mean(axis=1)


@pytest.mark.parametrize(("name", "padding", "longest"), [("clip", True, 77), ("siglip", "max_length", 24)])
def test_scores_are_those_of_the_stock_model(request, videos, name, padding, longest):
    folder = request.getfixturevalue(name)
    scorer = open_scorer(str(folder))
    assert isinstance(scorer, Scorer)
    assert (scorer.kind, scorer.prompt) == ("similarity", None)
    found = scores(scorer, [item(videos / f"{n}.mp4") for n in range(3)])
    for number, frames in enumerate((20, 9, 5)):
        answer = found[f"t:{number}"]
        assert answer.frame_indices == midpoints(frames, 8)
        expected = stock_scores(
            folder,
            videos / f"{number}.mp4",
            answer.frame_indices,
            TEXTS,
            padding=padding,
            max_length=longest,
        )
        np.testing.assert_allclose(answer.scores, expected, rtol=0, atol=2e-6)
        assert answer.details == {"backend": "pyav", "texts_cut": 1}
    assert len(np.unique(found["t:0"].scores)) == 3


def test_which_texts_are_cut_and_where(clip):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(clip)
    scorer = open_scorer(str(clip))
    caption = " ".join(["a dog runs"] * 60) + " and sleeps"
    whole = tokenizer(caption, truncation=False)["input_ids"]
    (told,) = scorer.cut_texts(["a dog runs", caption, caption])
    assert f"{len(whole)} tokens, where the model reads 77: cut at character " in told
    place = int(told.split("character ")[1].split(",")[0])
    assert tokenizer(caption[:place])["input_ids"] == [*whole[:76], whole[-1]]
    assert repr(caption[place : place + 60].strip()) in told
    assert scorer.cut_texts(["a dog runs"]) == []


def test_a_score_does_not_depend_on_company_order_or_threads(clip, videos):
    import torch

    items = [item(videos / f"{n}.mp4") for n in range(3)]
    together = scores(open_scorer(str(clip)), items)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        backwards = scores(open_scorer(str(clip), workers=1), items[::-1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    scorer = open_scorer(str(clip))
    for each in items:
        expected = together[each.item_id].scores
        assert backwards[each.item_id].scores.tobytes() == expected.tobytes()
        for place, text in enumerate(TEXTS):
            alone = scores(scorer, [item(each.video, (text,))])[each.item_id]
            assert alone.scores[0] == expected[place]


def test_one_thread_is_enough_for_equal_bits():
    import torch

    torch.manual_seed(0)
    left, right = torch.randn(20, 512), torch.randn(512, 2048)
    threads, products = torch.get_num_threads(), set()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            with one_cpu_thread("cpu"):
                products.add((left @ right).numpy().tobytes())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert len(products) == 1


def test_bytes_and_a_window_of_time(clip, videos):
    scorer = open_scorer(str(clip), frames={"count": 2})
    path = videos / "0.mp4"
    whole = scores(scorer, [item(path)])["t:0"]
    raw = ScoringItem("t:0", "0", path.read_bytes(), tuple(map(Text, TEXTS)), ("0", "1", "2"))
    assert scores(scorer, [raw])["t:0"].scores.tobytes() == whole.scores.tobytes()
    # 8 frames a second: the second second holds frames 8 to 15.
    part = scores(scorer, [item(path, start=1.0, end=2.0)])["t:0"]
    assert part.frame_indices == (10, 14)
    assert part.scores.tolist() != whole.scores.tolist()


def test_an_unreadable_video_is_an_answer_and_the_rest_goes_on(clip, videos):
    paths = [videos / "0.mp4", videos / "broken.mp4", videos / "absent.mp4", videos / "1.mp4"]
    answers = list(open_scorer(str(clip)).score(map(item, paths)))
    assert [answer.item_id for answer in answers] == ["t:0", "t:broken", "t:absent", "t:1"]
    assert [answer.error and type(answer.error).__name__ for answer in answers] == [
        None,
        "NotAVideoError",
        "MissingVideoError",
        None,
    ]
    assert [answer.scores is None for answer in answers] == [False, True, True, False]
    assert answers[1].error.file == str(videos / "broken.mp4")


def test_a_missing_decoder_is_no_fault_of_the_videos(clip, videos, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "decord", None)
    scorer = open_scorer(str(clip), frames={"backend": "decord"})
    with pytest.raises(MissingBackendError):
        list(scorer.score([item(videos / "0.mp4")]))


def test_frames_replace_fields_of_the_models_own_policy(clip, videos):
    assert open_scorer(str(clip)).frames == FramePolicy(count=8, rule="segment-midpoints")
    scorer = open_scorer(str(clip), frames={"count": 3})
    assert scorer.frames == FramePolicy(count=3, rule="segment-midpoints")
    assert scores(scorer, [item(videos / "1.mp4")])["t:1"].frame_indices == midpoints(9, 3)
    with pytest.raises(SynvitaError, match="unknown backend"):
        open_scorer(str(clip), frames={"backend": "magic"})


def copy(folder, tmp_path):
    target = tmp_path / "model"
    shutil.copytree(folder, target)
    return target


def test_the_revision_follows_weights_and_settings_and_nothing_else(clip, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = copy(clip, tmp_path)
    before = ModelFiles(str(folder)).exact_revision()
    assert before == ModelFiles(str(clip)).exact_revision()
    (folder / "README.md").write_text("a card")
    (folder / ".cache").write_text("hidden")
    (folder / "checkpoint-10").mkdir()
    shutil.copy(clip / "model.safetensors", folder / "checkpoint-10")
    assert ModelFiles(str(folder)).exact_revision() == before

    weights = load_file(folder / "model.safetensors")
    name = "text_model.embeddings.position_embedding.weight"
    weights[name] = weights[name] + np.float32(1e-3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = ModelFiles(str(folder)).exact_revision()
    assert changed != before
    assert open_scorer(str(folder)).revision == changed
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert ModelFiles(str(folder)).exact_revision() not in (before, changed)


def test_a_model_of_another_kind_is_refused_before_it_is_loaded(tmp_path, clip):
    folder = copy(clip, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    (folder / "model.safetensors").unlink()  # the kind is known from the configuration alone
    with pytest.raises(SynvitaError, match="this kind of model cannot be scored with") as caught:
        open_scorer(str(folder))
    assert "'bert'" in caught.value.found


@pytest.mark.parametrize("damage", ["shortened", "without one weight", "no weights", "other shape"])
def test_a_damaged_checkpoint_is_refused(clip, tmp_path, damage):
    from safetensors.numpy import load_file, save_file

    folder = copy(clip, tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "text_model.encoder.layers.0.layer_norm1.bias"
    if damage == "shortened":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "no weights":
        path.unlink()
    elif damage == "without one weight":
        del weights[name]
        save_file(weights, path, metadata={"format": "pt"})
    else:
        weights[name] = weights[name][:-1]
        save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(SynvitaError) as caught:
        open_scorer(str(folder))
    assert caught.value.file == str(path if damage == "shortened" else folder)


@pytest.mark.parametrize("model", ["no/such-model", "absent", "/nowhere", "bad name!", ""])
def test_no_such_model(model):
    with pytest.raises(SynvitaError, match="the model cannot be found"):
        open_scorer(model)


def test_a_folder_without_configuration(tmp_path):
    with pytest.raises(SynvitaError, match="the model cannot be found"):
        open_scorer(str(tmp_path))
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(SynvitaError, match="settings cannot be read"):
        open_scorer(str(tmp_path))


def test_device_and_dtype_are_checked(clip):
    with pytest.raises(SynvitaError, match="does not have the device"):
        open_scorer(str(clip), device="cuda:99")
    with pytest.raises(SynvitaError, match="does not have the device"):
        open_scorer(str(clip), device="toaster")
    with pytest.raises(SynvitaError, match="cannot have this dtype"):
        open_scorer(str(clip), dtype="load")
    assert pick_device("cpu") == "cpu"


def test_each_process_takes_its_own_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    picked = []
    for rank in range(4):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        picked.append(pick_device(None))
    assert picked == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device(None) == "cpu"


def test_half_weights_give_nearly_the_same(clip, videos):
    whole = scores(open_scorer(str(clip)), [item(videos / "0.mp4")])["t:0"].scores
    scorer = open_scorer(str(clip), dtype="bfloat16")
    half = scores(scorer, [item(videos / "0.mp4")])["t:0"].scores
    assert scorer.settings["dtype"] == "bfloat16"
    assert 0 < np.abs(half - whole).max() < 0.05
