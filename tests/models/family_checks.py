"""What the tests of single families share: videos that differ in every way, and the stock model's answers."""

import torch
from stock_models import clip, stock_log_odds

from synvita_data.captions import Text
from synvita_data.models import EncodedVideo, PreparedVideo

TOLERANCE = 1e-5  # log-odds, fp32
# Frames: even, odd, one. Sizes: wide, high, square. Seconds between frames: 1/4, 3/4.
VIDEOS = [clip(0, 4, 60, 110), clip(1, 5, 96, 64, step=3), clip(2, 1, 70, 70), clip(3, 6, 64, 128, step=2)]
TEXTS = [
    [
        Text("A man plays a guitar on a stage."),
        Text("A man plays a piano on a stage.", hidden=((14, 19),)),
        Text("dogs"),
    ],
    [Text("Ein Vögel fliegt über 東京 🎸.", hidden=((4, 9), (22, 24))), Text("A woman cuts vegetables")],
    [Text("A red circle moves left before a blue square grows."), Text("A woman cuts", hidden=((2, 7),))],
    [Text("dogs")],
]


def expected(stock, wording, videos=VIDEOS, texts=TEXTS):
    """Log-odds of every pair by the stock model, one forward a pair."""
    return torch.tensor(
        [
            stock_log_odds(*stock, video, wording.format(text.caption), text.caption, text.hidden)
            for video, own in zip(videos, texts, strict=True)
            for text in own
        ]
    )


def worst(output, reference) -> float:
    assert output.log_odds.dtype == torch.float32
    return float((output.log_odds.detach().double() - reference).abs().max())


def as_cached(family, encoded: EncodedVideo) -> EncodedVideo:
    """What a feature cache gives back: of the inputs only those that positions need."""
    prepared = encoded.prepared
    kept = {name: prepared.inputs[name] for name in family.cache_inputs}
    return EncodedVideo(PreparedVideo(kept, prepared.placeholder, prepared.runs), encoded.features)


def language_model_linears(network) -> set[str]:
    """Names of the language model's own linear layers, the head not among them."""
    inside = {id(module) for module in network.model.language_model.modules()}
    return {
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and id(module) in inside
    }
