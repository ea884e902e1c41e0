"""What a model sees under a control: against the stock processor without a video, and against frames moved by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stock_models import answer_id, load

from synvita_data.captions import Question, Text
from synvita_data.captions.prompts import PROMPTS
from synvita_data.errors import SynvitaError
from synvita_data.models import AlignmentModel
from synvita_data.models.families.family import NO_VIDEO
from synvita_data.scoring import ScoringItem
from synvita_data.scoring.alignment import AlignmentScorer
from synvita_data.scoring.open import open_scorer
from synvita_data.video import decode, encode_mp4
from synvita_data.video.controls import CONTROLS, Control

TEXTS = (Text("A man plays a guitar."), Text("A man plays a piano.", ((14, 19),)), Text("dogs"))
ASKED = tuple(
    Text(f"q {answer}", question=Question("Does the ball go up?\nYes or No.", ("Yes", "No"), place))
    for place, answer in enumerate(("Yes", "No"))
)
CHATS = ("qwen2_5_vl", "qwen3_vl", "llava_onevision")
MOVED = ("frame", "reverse", "shuffle")


@pytest.fixture(
    params=["video_llava", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "mplug-owl", "video_llava_original"]
)
def every_family(request):
    return request.param


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    encode_mp4(np.random.default_rng(3).integers(0, 256, (24, 56, 64, 3), dtype=np.uint8), 8, path)
    return path


def without_video(processor, family, question):
    """The question as it is asked where there is no video: by the stock chat template, or by hand in a released wording."""
    if family in CHATS:
        message = {"role": "user", "content": [{"type": "text", "text": question}]}
        return processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    if family == "mplug-owl":
        return (
            "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
            f"detailed, and polite answers to the user's questions.\nHuman: {question}\nAI: "
        )
    system = (
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. "
    )
    return f"{system if family == 'video_llava_original' else ''}USER: {question} ASSISTANT:"


@torch.no_grad()
def stock_logits(model, processor, prompt, hidden=""):
    """Of the whole vocabulary behind a prompt without a video, by the stock processor and forward."""
    inputs = dict(processor(text=[prompt], return_tensors="pt"))
    assert not {name for name in inputs if "video" in name or "pixel" in name}
    assert not (inputs["input_ids"] == model.config.video_token_id).any()
    if hidden:  # a word of the caption, at whose tokens the mask is zero; positions stay
        first = prompt.index(hidden)
        places = processor.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
        at = [number for number, (a, b) in enumerate(places) if a < first + len(hidden) and b > first]
        assert at
        inputs["attention_mask"][0, at] = 0
        count = inputs["input_ids"].shape[1]
        shape = (3, 1, count) if hasattr(model.model, "get_rope_index") else (1, count)
        inputs["position_ids"] = torch.arange(count).expand(shape)
    inputs.pop("mm_token_type_ids", None)
    return model(**inputs, use_cache=False).logits[0, -1].double()


@pytest.mark.parametrize("strategy", ["plain", "packed", "cached"])
def test_text_is_the_stock_models_own_prompt_without_a_video(checkpoint_of, every_family, strategy):
    network, processor = load(checkpoint_of(every_family))
    asked = [f'Does this video entail the description: "{text.caption}"?' for text in (TEXTS[0], TEXTS[2])]
    yes, no = (answer_id(processor.tokenizer, answer) for answer in ("Yes", "No"))
    expected = []
    for question in asked:
        logits = stock_logits(network, processor, without_video(processor, every_family, question))
        expected.append(float(logits[yes] - logits[no]))
    logits = stock_logits(network, processor, without_video(processor, every_family, ASKED[0].question.words))
    expected += [float(logits[yes] - logits[no]), float(logits[no] - logits[yes])]
    model = AlignmentModel(network, processor, text_only=True).eval()
    with torch.no_grad():
        found = model([NO_VIDEO], [[TEXTS[0], TEXTS[2], *ASKED]], strategy=strategy)
    assert found.strategy == strategy
    assert (found.log_odds.double() - torch.tensor(expected)).abs().max() < 1e-5
    assert len(set(found.log_odds.tolist())) == 4


@pytest.mark.parametrize("strategy", ["plain", "packed", "cached"])
def test_text_hides_what_a_text_hides(checkpoint_of, strategy):
    network, processor = load(checkpoint_of("llava_onevision"))
    text = TEXTS[1]
    question = f'Does this video entail the description: "{text.caption}"?'
    yes, no = (answer_id(processor.tokenizer, answer) for answer in ("Yes", "No"))
    prompt = without_video(processor, "llava_onevision", question)
    logits = stock_logits(network, processor, prompt, hidden="piano")
    model = AlignmentModel(network, processor, text_only=True).eval()
    with torch.no_grad():
        found = model([NO_VIDEO], [[text, TEXTS[0]]], strategy=strategy).log_odds
    assert abs(float(found[0]) - float(logits[yes] - logits[no])) < 1e-5


def test_text_scores_without_a_video_through_the_scorer(checkpoint_of, every_family):
    scorer = open_scorer(str(checkpoint_of(every_family)), device="cpu", control="text")
    assert scorer.frames is None
    assert scorer.behind_placeholder is None
    assert scorer.preprocessing is None
    assert scorer.settings["control"] == "text"
    scorer.check_texts(TEXTS)
    item = ScoringItem("item", "v", b"", (*TEXTS, *ASKED), tuple("abcde"))
    turned = replace(item, mirrored=(False, True, False, False, False))
    (answer,), (again,) = scorer.score([item]), scorer.score([turned])
    assert answer.error is None
    assert answer.frame_indices == ()
    assert answer.details == {}
    assert np.abs(answer.scores - again.scores).max() < 1e-5
    model = AlignmentModel(*load(checkpoint_of(every_family)), text_only=True).eval()
    with torch.no_grad():
        expected = model([NO_VIDEO], [item.texts], strategy="plain").log_odds.numpy()
    assert np.abs(answer.scores - expected).max() < 1e-5


@pytest.mark.parametrize("control", MOVED)
def test_frames_moved_by_hand(checkpoint_of, every_family, video, control):
    checkpoint = checkpoint_of(every_family)
    scorer = open_scorer(str(checkpoint), device="cpu", control=control, seed=5)
    item = ScoringItem("item", "a video", video, (*TEXTS, *ASKED), tuple("abcde"))
    (answer,) = scorer.score([item])
    (plain,) = open_scorer(str(checkpoint), device="cpu").score([item])
    frames = decode(video, scorer.frames)
    count = len(frames)
    assert plain.frame_indices == frames.indices
    # By hand: the pixels in another order, and all that says when they were in its own.
    if control == "frame":
        order = [count // 2] * count
        assert len(set(answer.frame_indices)) == 1
    elif control == "reverse":
        order = list(range(count))[::-1]
    else:
        order = [frames.indices.index(index) for index in answer.frame_indices]
        if len(set(frames.indices)) == count:  # where none stands twice
            assert sorted(answer.frame_indices) == list(frames.indices)
        assert answer.frame_indices != frames.indices
    assert answer.frame_indices == tuple(frames.indices[place] for place in order)
    assert answer.details["timestamps"] == list(frames.timestamps)
    moved = replace(frames, pixels=np.stack([frames.pixels[place] for place in order]))
    model = AlignmentModel(*load(checkpoint)).eval()
    with torch.no_grad():
        expected, without = (
            model([each], [item.texts], strategy="plain").log_odds.numpy() for each in (moved, frames)
        )
    assert np.abs(answer.scores - expected).max() < 1e-5
    assert np.abs(plain.scores - without).max() < 1e-5
    if control == "frame" or every_family not in ("video_llava",):
        assert np.abs(answer.scores - plain.scores).max() > 1e-6


@pytest.mark.slow
def test_features_of_one_control_never_serve_another(checkpoint_of, video, tmp_path):
    checkpoint, cache = str(checkpoint_of("video_llava")), tmp_path / "cache"
    runs = [None, *MOVED]

    def scores(control, cache=None, seed=0, video_id="v"):
        scorer = open_scorer(
            checkpoint,
            device="cpu",
            control=control,
            seed=seed,
            video_llm={} if cache is None else {"cache": cache},
        )
        (answer,) = scorer.score([ScoringItem("item", video_id, video, TEXTS, ("a", "b", "c"))])
        return answer.scores.tolist(), answer.frame_indices

    def files():
        return len(list(cache.glob("??/*.safetensors")))

    for number, control in enumerate(runs, start=1):
        assert scores(control, cache) == scores(control)
        assert files() == number
    for control in reversed(runs):  # from the cache now
        assert scores(control, cache) == scores(control)
    assert files() == 4
    # A shuffled order is of a seed and a video.
    assert scores("shuffle", cache, seed=1)[1] == scores("shuffle", seed=1)[1] != scores("shuffle")[1]
    assert scores("shuffle", cache, video_id="w")[1] == scores("shuffle", video_id="w")[1]
    assert files() == 6
    # Without a video there is nothing to keep.
    scores("text", cache)
    assert files() == 6


def test_a_control_and_a_model_that_do_not_fit_are_refused(checkpoint_of):
    for text_only, control in ((True, None), (True, Control("frame")), (False, Control("text"))):
        model = AlignmentModel(*load(checkpoint_of("video_llava")), text_only=text_only)
        with pytest.raises(SynvitaError, match="go together"):
            AlignmentScorer(model, "x", "1", control=control)
    with pytest.raises(SynvitaError, match="unknown control"):
        open_scorer(str(checkpoint_of("video_llava")), control="blind")
    for control in CONTROLS:
        with pytest.raises(SynvitaError, match="chance looks at no video"):
            open_scorer("chance", control=control)


@pytest.mark.parametrize("name", PROMPTS)
def test_a_wording_without_its_video(name):
    prompt = PROMPTS[name].without_video()
    text = prompt.wrap("a dog")
    for part in ("<video>", "<|video|>", "USER: \n", "USER:  ", "Human: \n", "\n\n", "Human: Human"):
        assert part not in text
    assert text.count("a dog") == text.count("Does this video entail") == 1
    speaker = {"question": "", "mplug-owl": "Human: "}.get(name, "USER: ")
    assert text.partition("Does")[0].endswith(speaker)
    assert prompt.video == ""
    assert prompt.joiner is None
    assert prompt.without_video() == prompt
