"""Tiny random models of every family, loaded once a session."""

import pytest

# Family -> how its stock processor is asked the default prompt about a caption.
STOCK_PROMPTS = {
    "video_llava": 'USER: <video>\nDoes this video entail the description: "{}"? ASSISTANT:',
}


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory):
    """Folder of the tiny checkpoint of a family."""
    from synvita_data.tiny_models import make_tiny

    made = {}

    def folder(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture(params=STOCK_PROMPTS)
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
