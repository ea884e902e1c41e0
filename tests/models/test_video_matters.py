"""The video reaches the language model in every family and strategy: a stock forward may swallow what it does not know."""

import numpy as np
import pytest
import torch
from stock_models import clip

from synvita_data.captions import Text
from synvita_data.errors import SynvitaError
from synvita_data.models import STRATEGIES, AlignmentModel, strategies
from synvita_data.models.families import FAMILIES

TEXTS = [
    [Text("A man plays a guitar on a stage."), Text("A man plays a piano on a stage.", hidden=((14, 19),))]
]


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def test_scores_change_with_any_frame(stock):
    """As many frames of the same size at the same times, so that nothing but features can tell videos apart."""
    model = AlignmentModel(*stock)
    video = clip(0, 4, 64, 96)
    for frames in (slice(0, 2), slice(2, 4)):
        pixels = video.pixels.copy()
        pixels[frames] = np.random.default_rng(1).integers(0, 256, pixels[frames].shape)
        other = type(video)(pixels, video.indices, video.timestamps, video.fps, "changed", "none")
        assert model.prepare(other).placeholder == model.prepare(video).placeholder
        with torch.no_grad():
            for strategy in STRATEGIES:
                for seen in (lambda v: v, model.encode):
                    one, two = (model([seen(v)], TEXTS, strategy=strategy).log_odds for v in (video, other))
                    assert float((one - two).abs().min()) > 1e-3, (strategy, frames, seen)


def test_gradients_reach_what_the_tower_made(stock):
    """And with the size that a finite difference has."""
    model = AlignmentModel(*stock)
    encoded = model.encode(clip(0, 4, 64, 96))
    for name, feature in encoded.features.items():
        feature = feature.detach().requires_grad_()
        changed = strategies.EncodedVideo(encoded.prepared, {**encoded.features, name: feature})
        (gradient,) = torch.autograd.grad(model([changed], TEXTS, strategy="packed").log_odds[0], feature)
        step = 1e-2 * gradient / gradient.norm()
        values = []
        for sign in (1, -1):
            moved = {**encoded.features, name: (feature + sign * step).detach()}
            with torch.no_grad():
                values.append(
                    model(
                        [strategies.EncodedVideo(encoded.prepared, moved)], TEXTS, strategy="packed"
                    ).log_odds[0]
                )
        assert float(values[0] - values[1]) == pytest.approx(2e-2 * float(gradient.norm()), rel=0.05)


# mPLUG-Owl's tower is read by an abstractor: 65 tokens, whatever the features are.
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "mplug-owl"])
def test_features_that_do_not_fit_are_refused(stock):
    model = AlignmentModel(*stock)
    long, short = (model.encode(clip(0, frames, 64, 96)) for frames in (6, 4))
    for strategy in STRATEGIES:
        with pytest.raises(SynvitaError, match="do not fit"):
            model([strategies.EncodedVideo(short.prepared, long.features)], TEXTS, strategy=strategy)


def test_an_argument_that_the_stock_forward_does_not_name_is_refused(stock, monkeypatch):
    """Both where pixels go in and where features do."""
    model = AlignmentModel(*stock)
    video = clip(0, 4, 64, 96)
    prepared = model.prepare(video)
    renamed = type(prepared)(
        {"pixels_of_video" if "pixel" in name else name: t for name, t in prepared.inputs.items()},
        prepared.placeholder,
        prepared.runs,
    )
    with pytest.raises(SynvitaError, match="pixels_of_video"):
        model([renamed], TEXTS, strategy="plain")
    encoded = model.encode(video)
    monkeypatch.setattr(model.family, "beside_tokens", lambda features, at_video: {"early_layers": at_video})
    for strategy in STRATEGIES:
        with pytest.raises(SynvitaError, match="early_layers"):
            model([encoded], TEXTS, strategy=strategy)
