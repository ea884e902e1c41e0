"""VQAScore of pairs beside the table that `synvita vqascore` writes for the same videos and captions."""

from dataclasses import replace

import numpy as np
import pytest

from synvita_data import score
from synvita_data.builders.vqascore import find_model, score_videos
from synvita_data.builders.vqascore.models import is_vqa_only
from synvita_data.builders.vqascore.pairs import VqaPairScorer
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.tables.scores import read_scores
from synvita_data.video import FramePolicy


@pytest.mark.parametrize(
    ("family", "whole"),
    [
        ("clip_flant5", False),
        *(
            pytest.param(family, family == "video_llava", marks=pytest.mark.slow)
            for family in ("instructblip", "llava", "qwen2_5_vl", "video_llava")
        ),
    ],
)
def test_equal_to_the_table_of_vqascore(inputs, tiny, settings, tmp_path, family, whole):
    model = find_model(str(tiny(family)), whole_video=whole)
    triplets = inputs.triplets[:2]
    score_videos(triplets, inputs.spec, [model], tmp_path / "s.parquet", settings=settings)
    table = read_scores(tmp_path / "s.parquet")
    scorer = VqaPairScorer(model, settings)
    texts = [[triplet.neg_caption, triplet.caption] for triplet in triplets]
    found = score(scorer, inputs.videos[:2], texts)
    assert (found.kind, found.model) == ("probability", model.label)
    for triplet, values, video in zip(triplets, found.by_video(), inputs.videos, strict=False):
        wanted = table.for_row(f"{triplet.pair_id}", triplet.pair_id) or table.for_row(
            next(key for key in table.unused() if str(key).startswith(triplet.pair_id))
        )
        # The same two captions are asked about at once: equal to the last bit.
        assert values.tolist() == [wanted[0].neg_caption_score, wanted[0].caption_score], video
        # One alone has other shapes in its matrix products.
        alone = score(scorer, video, triplet.caption).scores
        assert alone == pytest.approx(values[1:], rel=1e-4)


@pytest.mark.slow
def test_many_texts_of_one_video(inputs, tiny, settings):
    scorer = VqaPairScorer(find_model(str(tiny("llava"))), settings)
    texts = [f"a dog runs {number} times over the field" for number in range(11)]
    found = score(scorer, inputs.videos[0], texts).scores
    each = [score(scorer, inputs.videos[0], text).scores[0] for text in texts]
    np.testing.assert_allclose(found, each, rtol=1e-4)
    assert len(set(found.tolist())) == len(texts)


def test_what_cannot_be_scored(inputs, tiny, settings, tmp_path):
    scorer = VqaPairScorer(find_model(str(tiny("llava"))), settings)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    many = VqaPairScorer(find_model(str(tiny("llava"))), replace(settings, frames=FramePolicy(count=40)))
    found = score(scorer, [tmp_path / "bad.mp4", inputs.videos[0]], "a dog")
    assert list(found.errors) == [0]
    assert type(score(many, [inputs.videos[0]], "a dog").errors[0]) is SynvitaError
    assert "fewer frames" in str(score(many, [inputs.videos[0]], "a dog").errors[0])
    with pytest.raises(CaptionError, match="row 1: a caption holds a special token"):
        score(scorer, inputs.videos[:2], ["a dog", "a </s> dog"])
    with pytest.raises(SynvitaError, match="unknown score"):
        VqaPairScorer(find_model(str(tiny("llava"))), settings, score="best")


def test_settings_are_part_of_the_key(inputs, tiny, settings, tmp_path):
    from synvita_data.pair_scores.pairs import pairs_key

    model = find_model(str(tiny("llava")))
    scorers = [
        VqaPairScorer(model, settings),
        VqaPairScorer(model, settings, score="first-token"),
        VqaPairScorer(model, replace(settings, preprocessing="hf")),
        VqaPairScorer(model, replace(settings, placeholder_space="original")),
        VqaPairScorer(model, replace(settings, frames=FramePolicy(count=2))),
    ]
    assert len({pairs_key(scorer) for scorer in scorers}) == len(scorers)


@pytest.mark.parametrize(
    ("family", "only"),
    [("clip_flant5", True), ("instructblip", True), ("llava", True), ("qwen2_5_vl", False), ("clip", False)],
)
def test_which_models_give_nothing_else(tiny, family, only):
    assert is_vqa_only(str(tiny(family))) is only
    assert is_vqa_only("clip-flant5-xxl")
