"""Each tiny model is of the real class, survives saving, runs on a video, and follows from its seed.

One file, so that transformers is imported in one process.
"""

import hashlib

import numpy as np
import pytest

from synvita_data.builders.shapes import parse, render
from synvita_data.errors import SynvitaError
from synvita_data.testing import FAMILIES, TEXT_MODELS, make_tiny

CLASSES = {
    "video_llava": ("VideoLlavaForConditionalGeneration", "VideoLlavaProcessor", "LlamaTokenizer"),
    "video_llava_original": (
        "VideoLlavaOriginalForConditionalGeneration",
        "VideoLlavaProcessor",
        "LlamaTokenizer",
    ),
    "clip": ("CLIPModel", "CLIPProcessor", "CLIPTokenizer"),
    "llava_onevision": (
        "LlavaOnevisionForConditionalGeneration",
        "LlavaOnevisionProcessor",
        "Qwen2Tokenizer",
    ),
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor", "Qwen2Tokenizer"),
    "qwen3_vl": ("Qwen3VLForConditionalGeneration", "Qwen3VLProcessor", "Qwen2Tokenizer"),
    "mplug-owl": ("MplugOwlForConditionalGeneration", "MplugOwlProcessor", "LlamaTokenizer"),
}
FAST = {"video_llava", "clip"}
every_family = pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in CLASSES]
)
every_video_family = pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[] if name in FAST else pytest.mark.slow)
        for name in CLASSES
        if name != "clip"
    ],
)
QUESTION = 'Does this video entail the description: "{}"?'


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    made = {}

    def folder(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture(scope="module")
def clip():
    """uint8 [4, 96, 96, 3]."""
    return render(parse("A large red star moves left."), seed=0)[::4]


def load(folder, family):
    import transformers

    processor = transformers.AutoProcessor.from_pretrained(folder)
    return getattr(transformers, FAMILIES[family]).from_pretrained(folder).eval(), processor


def ask(processor, caption, frames):
    content = [{"type": "video"}, {"type": "text", "text": QUESTION.format(caption)}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    metadata = {
        "fps": 4,
        "total_num_frames": len(frames),
        "duration": 1.0,
        "frames_indices": [*range(len(frames))],
    }
    return processor(
        text=[text], videos=[frames], do_sample_frames=False, video_metadata=[metadata], return_tensors="pt"
    )


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_every_family_is_here():
    assert set(CLASSES) == set(FAMILIES)


@every_family
def test_it_reloads_as_the_real_classes_and_stays_small(folder_of, family):
    model, processor = load(folder_of(family), family)
    assert (type(model).__name__, type(processor).__name__, type(processor.tokenizer).__name__) == CLASSES[
        family
    ]
    assert model.config.model_type == family
    assert sum(weights.numel() for weights in model.parameters()) < 300_000
    assert sum(path.stat().st_size for path in folder_of(family).iterdir()) < 2_000_000


@every_video_family
def test_a_forward_depends_on_video_and_caption(folder_of, family, clip):
    import torch

    model, processor = load(folder_of(family), family)

    def last(caption, frames):
        with torch.no_grad():
            logits = model(**ask(processor, caption, frames)).logits
        assert torch.isfinite(logits).all()
        assert logits.shape[-1] == len(processor.tokenizer)
        return logits[0, -1]

    base = last("A red star moves left.", clip)
    assert torch.equal(base, last("A red star moves left.", clip.copy()))
    assert (base - last("A red star moves left.", 255 - clip)).abs().max() > 0.05
    assert (base - last("A red star moves left.", np.ascontiguousarray(clip[::-1]))).abs().max() > 1e-3
    assert (base - last("A red star moves right.", clip)).abs().max() > 0.05


def test_video_llava_counts_its_tokens_as_the_real_one(folder_of, clip):
    """T × ((S/P)² + 1): each frame's patches and its CLS."""
    model, processor = load(folder_of("video_llava"), "video_llava")
    for frames in (clip, clip[:1], np.repeat(clip, 2, axis=0)):
        inputs = ask(processor, "A red star spins.", frames)
        assert int((inputs["input_ids"] == model.config.video_token_index).sum()) == len(frames) * (
            (28 // 14) ** 2 + 1
        )
    text = processor.tokenizer.decode(ask(processor, "A red star spins.", clip)["input_ids"][0])
    assert (
        text.replace("<video>", "")
        == '<s> USER: \nDoes this video entail the description: "A red star spins."? ASSISTANT:'
    )


def test_clip_compares_frames_with_captions(folder_of, clip):
    import torch

    model, processor = load(folder_of("clip"), "clip")
    captions = ["A red star spins.", "Two blue circles grow."]
    inputs = processor(text=captions, images=list(clip), padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    cosine = out.image_embeds @ out.text_embeds.T
    assert out.logits_per_image.shape == (4, 2)
    assert torch.isfinite(cosine).all()
    assert torch.allclose(out.logits_per_image, cosine * model.logit_scale.exp(), atol=1e-5)
    assert (cosine[:, 0] - cosine[:, 1]).abs().max() > 0.01


@every_family
def test_a_seed_gives_its_files(folder_of, tmp_path, family):
    import torch

    state = torch.random.get_rng_state()
    again = make_tiny(family, tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    third = make_tiny(family, tmp_path / "third")
    assert digests(again) == digests(folder_of(family)) == digests(third)
    other = digests(make_tiny(family, tmp_path / "other", seed=1))
    different = {name for name, digest in digests(again).items() if other[name] != digest}
    assert different == {"model.safetensors"}


@every_family
def test_weights_are_drawn_wide_enough(folder_of, family):
    """No matrix is left at the usual 0.02: its entries have the deviation fan_in ** -0.5."""
    model, _ = load(folder_of(family), family)
    for name, weights in model.named_parameters():
        if weights.ndim >= 2 and weights.numel() >= 500:
            fan_in = weights[0].numel()
            assert 0.8 < weights.std().item() * fan_in**0.5 < 1.2, name


@pytest.mark.parametrize("family", ["video_llava", pytest.param("qwen3_vl", marks=pytest.mark.slow)])
def test_sizes_can_be_overridden(tmp_path, clip, family):
    patch = {"video_llava": 14, "qwen3_vl": 16}[family]
    folder = make_tiny(
        family, tmp_path, hidden_size=64, layers=3, vision_layers=1, image_size=4 * patch, heads=2
    )
    model, processor = load(folder, family)
    text = model.config.text_config
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (64, 3, 2)
    assert model(**ask(processor, "A red star spins.", clip)).logits.isfinite().all()


def test_models_of_text_alone_reload_as_the_real_classes(tmp_path):
    """A chat model whose template shows what is said, and a classifier whose labels are named in its settings."""
    import torch
    import transformers

    made = {}
    for family, name in TEXT_MODELS.items():
        folder = make_tiny(family, tmp_path / family)
        assert digests(make_tiny(family, tmp_path / f"{family}-again")) == digests(folder)
        made[family] = (
            getattr(transformers, name).from_pretrained(folder).eval(),
            transformers.AutoTokenizer.from_pretrained(folder),
        )
    chat, tokenizer = made["chat"]
    said = [{"role": "user", "content": "a dog runs"}]
    asked = tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    assert tokenizer.decode(asked["input_ids"][0]).count("a dog runs") == 1
    assert type(chat).__name__ == "Qwen2ForCausalLM"
    assert chat(**asked).logits.isfinite().all()
    nli, tokenizer = made["nli"]
    pairs = [("a dog runs", "a cat runs"), ("a dog runs", "a dog runs")]
    with torch.no_grad():
        logits = [nli(**tokenizer(*pair, return_tensors="pt")).logits[0] for pair in pairs]
    assert logits[0].shape == (3,)
    assert (logits[0] - logits[1]).abs().max() > 0.01
    assert nli.config.id2label[2] == "entailment"


def test_families_have_functions_of_their_own(folder_of, tmp_path):
    assert digests(make_tiny("video_llava", tmp_path)) == digests(folder_of("video_llava"))


@pytest.mark.parametrize(
    ("family", "sizes", "message"),
    [
        ("llava_next", {}, "unknown family of tiny models"),
        ("clip", {"width": 3}, "unknown size"),
        ("clip", {"layers": 0}, "whole numbers"),
        ("clip", {"heads": 5}, "fit together"),
        ("video_llava", {"image_size": 30}, "whole number of patches"),
        ("qwen3_vl", {"hidden_size": 16}, "rotary"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(tmp_path, family, sizes, message):
    with pytest.raises(SynvitaError, match=message):
        make_tiny(family, tmp_path / "model", **sizes)
    assert not (tmp_path / "model").exists()
