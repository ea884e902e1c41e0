"""Each scorer against a plain forward of stock parts, one frame with one caption at a time.

One file, so that transformers is imported in one process.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from models.stock_models import clip as noise
from models.stock_models import stock_inputs
from PIL import Image

from synvita_data.builders.vqascore import find_model
from synvita_data.builders.vqascore.base import MemoryLimit, log_probs_that_fit
from synvita_data.builders.vqascore.models import open_scorer
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.testing import make_tiny
from synvita_data.video import Frames

CAPTIONS = ("a man is running", 'a dog sits on the "mat" while it blinks')
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)


def frames(seed: int = 1, height: int = 40, width: int = 64) -> Frames:
    return noise(seed, frames=3, height=height, width=width)


def scores(scorer, video=None, captions=CAPTIONS) -> np.ndarray:
    """exp(mean log-probability), float64 [frames, captions]."""
    (found,) = scorer.log_probs([scorer.prepare(video or frames(), captions)])
    return found.double().mean(-1).exp().numpy()


def one_by_one(ask, video=None, captions=CAPTIONS) -> np.ndarray:
    images = [Image.fromarray(pixels) for pixels in (video or frames()).pixels]
    with torch.no_grad():
        return np.array([[ask(image, caption) for caption in captions] for image in images])


def square(image: Image.Image, colour=(122, 116, 104)) -> Image.Image:
    side = max(image.size)
    padded = Image.new("RGB", (side, side), colour)
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return padded


def tensor(image: Image.Image, mean, std) -> torch.Tensor:
    values = torch.from_numpy(np.array(image)).float() / 255
    return ((values - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)[None]


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def stock_clip_flant5(folder):
    """Stock T5 and CLIP filled by hand from the released names, and a splice written out."""
    from transformers import AutoTokenizer, CLIPVisionConfig, CLIPVisionModel, T5Config
    from transformers import T5ForConditionalGeneration as T5

    weights = {}
    for file in [*folder.glob("*.bin"), *folder.glob("*.safetensors")]:
        if file.suffix == ".bin":
            weights |= torch.load(file, weights_only=True)
        else:
            from safetensors.torch import load_file

            weights |= load_file(file)
    settings = json.loads((folder / "config.json").read_text())
    settings.pop("model_type")
    t5 = T5(T5Config(**settings)).eval()
    vision = CLIPVisionModel(CLIPVisionConfig.from_pretrained(folder / "vision_tower")).eval()
    prefix = "vision_tower.vision_tower.vision_model."
    own = "vision_model." if any(key.startswith("vision_model.") for key in vision.state_dict()) else ""
    vision.load_state_dict(
        {own + key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    )
    t5.lm_head = torch.nn.Linear(
        t5.config.d_model, t5.config.vocab_size, bias=False
    )  # tied as it is constructed
    for key, parameter in t5.named_parameters():
        parameter.data.copy_(weights[key])
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def ask(image, caption):
        pixels = tensor(square(image).resize((28, 28), Image.Resampling.BICUBIC), MEAN, STD)
        states = vision(pixels, output_hidden_states=True).hidden_states[-2][0, 1:]
        hidden = states @ weights["mm_projector.0.weight"].T + weights["mm_projector.0.bias"]
        hidden = torch.nn.functional.gelu(hidden)
        image_tokens = hidden @ weights["mm_projector.2.weight"].T + weights["mm_projector.2.bias"]
        before = tokenizer(f"{SYSTEM} USER: ").input_ids
        after = tokenizer(
            f'\nDoes this figure show "{caption}"? Please answer yes or no. ASSISTANT: '
        ).input_ids
        assert before[-1] == after[-1] == tokenizer.eos_token_id  # both chunks keep their </s>
        table = weights["shared.weight"]
        embeddings = torch.cat([table[before], image_tokens, table[after]])[None]
        labels = tokenizer("Yes", return_tensors="pt").input_ids
        assert labels.shape[1] == 2
        return float(torch.exp(-t5(inputs_embeds=embeddings, labels=labels).loss))

    return ask


def test_clip_flant5_is_its_stock_parts(tiny):
    folder = tiny("clip_flant5")
    assert sorted(path.suffix for path in folder.glob("pytorch_model*")) == [".bin", ".bin", ".json"]
    scorer = open_scorer(find_model(str(folder)))
    np.testing.assert_allclose(scores(scorer), one_by_one(stock_clip_flant5(folder)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores(scorer), one_by_one(stock_clip_flant5(folder)), rtol=1e-4)


@pytest.mark.parametrize(("shards", "safetensors"), [(1, False), (3, True), (1, True)])
def test_clip_flant5_loads_every_layout_alike(tiny, tmp_path, shards, safetensors):
    from synvita_data.testing import construct
    from synvita_data.testing.sizes import Sizes
    from synvita_data.testing.vqa_models import clip_flant5

    parts, tokenizer = construct(clip_flant5, Sizes(), 0)
    parts.save_pretrained(tmp_path, shards=shards, safetensors=safetensors)
    tokenizer.save_pretrained(tmp_path)
    expected = scores(open_scorer(find_model(str(tiny("clip_flant5")))))
    assert np.array_equal(scores(open_scorer(find_model(str(tmp_path)))), expected)


def test_clip_flant5_keeps_a_head_of_its_own(tiny):
    folder = tiny("clip_flant5")
    model = open_scorer(find_model(str(folder))).model
    weights = {}
    for file in folder.glob("*.bin"):
        weights |= torch.load(file, weights_only=True)
    assert torch.equal(model.t5.lm_head.weight, weights["lm_head.weight"])
    assert not torch.equal(model.t5.lm_head.weight, model.t5.shared.weight)
    assert model.t5.encoder.embed_tokens.weight is model.t5.decoder.embed_tokens.weight
    assert torch.equal(model.t5.shared.weight, weights["shared.weight"])


def copied(folder, target):
    shutil.copytree(folder, target)
    return target


def test_clip_flant5_takes_a_vision_tower_from_beside_it(tiny, tmp_path):
    """A checkpoint without vision weights names the tower it was trained with."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    folder = copied(tiny("clip_flant5"), tmp_path / "model")
    for file in folder.glob("*.bin"):
        own = torch.load(file, weights_only=True)
        torch.save({key: value for key, value in own.items() if not key.startswith("vision_tower.")}, file)
    with pytest.raises(SynvitaError, match="vision_tower"):
        open_scorer(find_model(str(folder)))
    torch.manual_seed(3)
    tower = CLIPVisionModel(CLIPVisionConfig.from_pretrained(folder / "vision_tower"))
    tower.save_pretrained(folder / "vision_tower")
    loaded = open_scorer(find_model(str(folder))).model.vision
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), tower.parameters(), strict=True))


@pytest.mark.parametrize("fault", ["missing", "shape", "cut", "lost shard", "settings"])
def test_a_broken_clip_flant5_is_named(tiny, tmp_path, fault):
    folder = copied(tiny("clip_flant5"), tmp_path / "model")
    first = sorted(folder.glob("*.bin"))[0]
    weights = torch.load(first, weights_only=True)
    key = sorted(key for key in weights if "layer" in key)[0]
    if fault == "missing":
        torch.save({name: value for name, value in weights.items() if name != key}, first)
    elif fault == "shape":
        torch.save({**weights, key: torch.zeros(1, 2, 3)}, first)
    elif fault == "cut":
        first.write_bytes(first.read_bytes()[:5000])
    elif fault == "lost shard":
        first.unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        config.pop("mm_hidden_size")
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SynvitaError) as caught:
        open_scorer(find_model(str(folder)))
    expected = {
        "missing": "does not hold all weights",
        "shape": "weights of another model",
        "cut": "it may have been cut off",
        "lost shard": "lacks a file",
        "settings": "not the settings",
    }
    assert expected[fault] in str(caught.value)


def test_no_code_in_a_checkpoint_is_run(tiny, tmp_path):
    folder = copied(tiny("clip_flant5"), tmp_path / "model")
    first = sorted(folder.glob("*.bin"))[0]
    torch.save({"shared.weight": Image.new("RGB", (2, 2))}, first)
    with pytest.raises(SynvitaError, match="cannot be read"):
        open_scorer(find_model(str(folder)))


def stock_instructblip(folder, preprocessing):
    from transformers import AutoProcessor, InstructBlipForConditionalGeneration

    model = InstructBlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)

    def ask(image, caption):
        question = f'Question: Does this figure show "{caption}"? Please answer yes or no.'
        inputs = processor(images=image, text=question, return_tensors="pt")
        if preprocessing == "reference":
            wide = image.resize((int(28 * 64 / 40), 28), Image.Resampling.BICUBIC)
            left = round((wide.width - 28) / 2)
            inputs["pixel_values"] = tensor(wide.crop((left, 0, left + 28, 28)), MEAN, STD)
        labels = processor.tokenizer("yes", return_tensors="pt").input_ids
        return float(torch.exp(-model(**inputs, labels=labels).loss))

    return ask


@pytest.mark.parametrize(("preprocessing", "tolerance"), [("reference", 1e-5), ("hf", 3e-5)])
def test_instructblip_is_its_stock_forward(tiny, preprocessing, tolerance):
    """`hf`: torchvision's filter, which the stock processor may use, differs from PIL's by a level here and there."""
    folder = tiny("instructblip")
    scorer = open_scorer(find_model(str(folder)), preprocessing=preprocessing)
    assert (
        scorer.model.query_tokens.std() > 0.01
    )  # as constructed they are zero, and nothing would depend on them
    expected = one_by_one(stock_instructblip(folder, preprocessing))
    np.testing.assert_allclose(scores(scorer), expected, rtol=0, atol=tolerance)
    head = scorer.model.language_model.lm_head.weight
    assert not torch.equal(head, scorer.model.language_model.shared.weight)


def test_the_two_preprocessings_of_instructblip_differ(tiny):
    model = find_model(str(tiny("instructblip")))
    found = [scores(open_scorer(model, preprocessing=name)) for name in ("reference", "hf")]
    assert np.abs(found[0] - found[1]).max() > 1e-5


def stock_llava(folder):
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)

    def ask(image, caption):
        text = f'{SYSTEM} USER: <image>\nDoes this figure show "{caption}"? Please answer yes or no. ASSISTANT: Yes</s>'
        inputs = processor(images=square(image), text=text, return_tensors="pt")
        inputs["pixel_values"] = tensor(square(image).resize((28, 28), Image.Resampling.BICUBIC), MEAN, STD)
        labels = inputs["input_ids"].clone()
        labels[:, :-2] = -100
        return float(torch.exp(-model(**inputs, labels=labels).loss))

    return ask


def test_llava_is_its_stock_forward(tiny):
    scorer = open_scorer(find_model(str(tiny("llava"))))
    expected = one_by_one(stock_llava(tiny("llava")))
    np.testing.assert_allclose(scores(scorer), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores(scorer), expected, rtol=1e-4)


CHAT = ["qwen2_5_vl", "llava_onevision", pytest.param("qwen3_vl", marks=pytest.mark.slow)]


@pytest.mark.parametrize("family", CHAT)
def test_chat_models_answer_yes_with_their_stock_probability(tiny, family):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = tiny(family)
    scorer = open_scorer(find_model(str(folder)))
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    yes = processor.tokenizer.convert_tokens_to_ids("Yes")
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def ask(image, caption):
        question = f'Does this figure show "{caption}"? Please answer yes or no.'
        content = [{"type": "image"}, {"type": "text", "text": question}]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        first = model(**processor(text=[prompt], images=[image], return_tensors="pt")).logits[0, -1]
        then = model(**processor(text=[prompt + "Yes"], images=[image], return_tensors="pt")).logits[0, -1]
        return [float(first.log_softmax(-1)[yes]), float(then.log_softmax(-1)[end])]

    (found,) = scorer.log_probs([scorer.prepare(frames(), CAPTIONS)])
    np.testing.assert_allclose(found.numpy(), one_by_one(ask), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.exp().numpy(), np.exp(one_by_one(ask)), rtol=0, atol=1e-5)


def test_a_chat_model_sees_each_image_once(tiny):
    scorer = open_scorer(find_model(str(tiny("qwen2_5_vl"))))
    seen = []
    scorer.model.model.visual.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    prepared = scorer.prepare(frames(), (*CAPTIONS, "a third one"))
    scorer.log_probs([prepared])
    assert seen == [sum(len(look["pixel_values"]) for look in prepared.images)]
    scorer.log_probs([prepared])  # and nothing is kept for the next video
    assert len(seen) == 2


def test_a_whole_video_is_its_stock_forward(tiny):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = tiny("qwen2_5_vl")
    scorer = open_scorer(find_model(str(folder), whole_video=True))
    video = noise(4, frames=4, height=64, width=64)
    (found,) = scorer.log_probs([scorer.prepare(video, CAPTIONS)])
    assert found.shape == (1, 2, 2)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    yes = processor.tokenizer.convert_tokens_to_ids("Yes")
    for column, caption in enumerate(CAPTIONS):
        question = f'Does this video entail the description: "{caption}"?'
        content = [{"type": "video"}, {"type": "text", "text": question}]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = dict(stock_inputs(processor, video, prompt))
        inputs["second_per_grid_ts"] = torch.tensor([2 / 4.0])
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1]
        assert found[0, column, 0].exp() == pytest.approx(float(logits.softmax(-1)[yes]), abs=1e-5)


THREE = ("clip_flant5", "instructblip", "llava")


@pytest.mark.parametrize("family", THREE)
def test_videos_in_one_batch_score_as_alone(tiny, family):
    scorer = open_scorer(find_model(str(tiny(family))))
    videos = [
        scorer.prepare(frames(seed, 40, 64 + seed), (f"{'a dog ' * seed}runs", "a cat")) for seed in (1, 2, 3)
    ]
    together = scorer.log_probs(videos)
    for video, found in zip(videos, together, strict=True):
        (alone,) = scorer.log_probs([video])
        torch.testing.assert_close(found, alone, rtol=0, atol=2e-5)
        assert torch.equal(scorer.log_probs([video])[0], alone)


@pytest.mark.parametrize("family", THREE)
def test_the_vision_tower_sees_each_frame_once(tiny, family):
    scorer = open_scorer(find_model(str(tiny(family))))
    part = {"clip_flant5": "vision", "instructblip": "vision_model", "llava": "model.vision_tower"}[family]
    images = []
    scorer.model.get_submodule(part).register_forward_pre_hook(
        lambda module, args, kwargs: images.append(len(args[0] if args else kwargs["pixel_values"])),
        with_kwargs=True,
    )
    scorer.log_probs([scorer.prepare(frames(), (*CAPTIONS, "a third one"))])
    assert images == [3]


@pytest.mark.parametrize("family", [*THREE, "qwen2_5_vl"])
@pytest.mark.parametrize("most", [4, 1])
def test_a_batch_that_does_not_fit_is_halved(tiny, family, most):
    scorer = open_scorer(find_model(str(tiny(family))))
    videos = [scorer.prepare(frames(seed), CAPTIONS) for seed in (1, 2, 3)]
    expected = [scorer.log_probs([video])[0] for video in videos]
    stock, tried, fitted = scorer.log_probs, [], []

    def small(batch):
        pairs = sum(video.looks * len(video.questions) for video in batch)
        tried.append(pairs)
        if pairs > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        fitted.append(pairs)
        return stock(batch)

    scorer.log_probs = small
    limit = MemoryLimit()
    found = log_probs_that_fit(scorer, videos, limit)
    assert max(fitted) <= most
    assert sum(fitted) == 18
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    tried.clear()
    log_probs_that_fit(scorer, videos, limit)
    assert max(tried) <= most  # what did not fit is not tried again


def test_what_fits_in_no_way_is_the_workers_fault(tiny):
    scorer = open_scorer(find_model(str(tiny("llava"))))

    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    prepared = scorer.prepare(frames(), CAPTIONS)
    scorer.log_probs = full
    with pytest.raises(torch.OutOfMemoryError):
        log_probs_that_fit(scorer, [prepared])


@pytest.mark.parametrize("family", [*THREE, "qwen2_5_vl"])
@pytest.mark.parametrize(
    ("caption", "problem"),
    [("a dog " * 3000, "too long"), ("a {special} dog", "special token")],
    ids=["long", "special"],
)
def test_captions_that_would_be_cut_or_misread_are_refused(tiny, family, caption, problem):
    scorer = open_scorer(find_model(str(tiny(family))))
    special = {"clip_flant5": "</s>", "instructblip": "</s>", "llava": "<image>", "qwen2_5_vl": "<|im_end|>"}
    with pytest.raises(CaptionError, match=problem):
        scorer.prepare(frames(), ("a cat", caption.replace("{special}", special[family])))


@pytest.mark.parametrize("family", ["clip_flant5", "instructblip"])
def test_t5_is_not_run_in_float16(tiny, family):
    with pytest.raises(SynvitaError, match="overflows"):
        open_scorer(find_model(str(tiny(family))), dtype="float16")


@pytest.mark.parametrize("family", THREE)
def test_bfloat16_is_close(tiny, family):
    model = find_model(str(tiny(family)))
    scorer = open_scorer(model, dtype="bfloat16")
    assert {parameter.dtype for parameter in scorer.model.parameters()} == {torch.bfloat16}
    (found,) = scorer.log_probs([scorer.prepare(frames(), CAPTIONS)])
    assert found.dtype == torch.float32
    (exact,) = (lambda full: full.log_probs([full.prepare(frames(), CAPTIONS)]))(open_scorer(model))
    torch.testing.assert_close(found, exact, rtol=0, atol=0.5)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make_tiny("llava", tmp_path / "llava")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(key for key in weights if "multi_modal_projector" in key))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SynvitaError, match="does not hold all weights"):
        open_scorer(find_model(str(folder)))
