"""Tiny random models of every family, loaded once a session."""

import pytest

# Family -> how its stock processor is asked the default prompt about a caption.
STOCK_PROMPTS = {
    "video_llava": 'USER: <video>\nDoes this video entail the description: "{}"? ASSISTANT:',
    "qwen2_5_vl": "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Does this video entail the "
    'description: "{}"?<|im_end|>\n<|im_start|>assistant\n',
    "qwen3_vl": "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Does this video entail the "
    'description: "{}"?<|im_end|>\n<|im_start|>assistant\n',
    "llava_onevision": '<|im_start|>user\n<video>Does this video entail the description: "{}"?<|im_end|>\n'
    "<|im_start|>assistant\n",
}
# tests/mplug_owl/ has a reference of its own for it; here are its pieces put together.
STOCK_PROMPTS["mplug-owl"] = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\nHuman: <|video|>\nHuman: Does this video entail "
    'the description: "{}"?\nAI: '
)
# The original asks in its own words, with a placeholder for each frame (`stock_models.placeholder_a_frame`).
STOCK_PROMPTS["video_llava_original"] = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions. USER: <video>\nDoes this video entail the "
    'description: "{}"? ASSISTANT:'
)
FAST = "video_llava"  # each other family has a quick test of its own, test_family_<name>.py


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory):
    """Folder of the tiny checkpoint of a family."""
    from synvita_data.testing import make_tiny

    made = {}

    def folder(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == FAST else pytest.mark.slow) for name in STOCK_PROMPTS]
)
def family(request):
    return request.param


@pytest.fixture
def stock(checkpoint_of, family):
    """(model, processor), freshly loaded: tests change attention and adapters."""
    from stock_models import load

    return load(checkpoint_of(family))


@pytest.fixture
def wording(family):
    return STOCK_PROMPTS[family]
