"""Bad rows, columns and options: clear errors before the first step, without a video being opened."""

import math

import pytest
from small_triplets import SHARED, dataset, row, tiny_model

from synvita_data.errors import CaptionError, SchemaError, ScoreError, SynvitaError, TokenizerError
from synvita_data.models import videos
from synvita_data.training import TripletData
from synvita_data.training.evaluation import EvaluationPairs


@pytest.fixture(autouse=True)
def _no_video_is_opened(monkeypatch):
    def opened(*arguments, **options):
        raise AssertionError("a video was decoded")

    monkeypatch.setattr(videos, "decode", opened)


def refused(rows, kind=SynvitaError, **options) -> SynvitaError:
    with pytest.raises(kind) as caught:
        TripletData(rows, tiny_model(), **options, name="bad data")
    assert caught.value.file == "bad data"
    return caught.value


@pytest.mark.parametrize("weight", [None, math.nan])
def test_a_missing_weight_names_row_and_remedy(weight, tmp_path):
    rows = dataset([row(0), row(1), row(2, weight=weight)], tmp_path)
    error = refused(rows, ScoreError)
    assert error.row == 2
    assert "has no weight" in error.problem
    assert rows[2]["id"] in error.found
    assert "--vqascores" in error.fix
    assert len(TripletData(rows, tiny_model(), use_synthetic=False)) == 3  # not asked for


@pytest.mark.parametrize("weight", [-0.01, 1.0000001, math.inf])
def test_a_weight_outside_its_range(weight):
    error = refused([row(0), row(1, weight=weight)], ScoreError)
    assert error.row == 1
    assert "outside [0, 1]" in error.problem


@pytest.mark.parametrize("weight", ["0.5", True, [0.5]])
def test_a_weight_that_is_no_number(weight):
    assert refused([row(0, weight=weight)], ScoreError).row == 0


def test_a_dataset_without_the_columns_lists_them(tmp_path):
    rows = dataset([row(0)], tmp_path)
    error = refused(rows.remove_columns(["weight", "shared", "neg_caption"]), SchemaError)
    for column in ("weight", "shared", "neg_caption"):
        assert column in error.expected
    assert "real_video" in error.found
    listed = [row(0), {key: value for key, value in row(1).items() if key != "shared"}]
    error = refused(listed, SchemaError)
    assert (error.row, error.expected) == (1, "also shared")


@pytest.mark.parametrize(
    "spans",
    [
        [[0, 5], [10, 27]],  # beyond the caption of 26 characters
        [[10, 26], [0, 5]],  # out of order
        [[0, 5], [4, 9]],  # overlapping
        [[3, 3]],  # empty
        [[-1, 4]],
    ],
)
@pytest.mark.parametrize("masked_text", ["hide", "remove"])
def test_spans_that_do_not_fit_their_caption(spans, masked_text):
    shared = {"caption": SHARED, "neg_caption": spans, "granularity": "word"}
    error = refused([row(0), row(1, shared=shared)], CaptionError, masked_text=masked_text)
    assert error.row == 1
    assert "neg_caption" in error.problem
    assert "granularity" in error.fix


@pytest.mark.parametrize(
    "shared",
    [None, {}, {"caption": SHARED, "neg_caption": None}, {"caption": [5], "neg_caption": SHARED}, "all"],
)
def test_spans_of_another_form(shared):
    error = refused([row(0, shared=shared)], SchemaError)
    assert error.row == 0
    assert TripletData([row(0, shared=shared)], tiny_model(), granularity="word")


def test_no_rows_splits_and_streams(tmp_path):
    rows = dataset([row(0)], tmp_path)
    assert "empty" in refused([], SchemaError).problem
    assert "empty" in refused(rows.select([]), SchemaError).problem
    assert "one split" in refused({"train": rows, "test": rows}, SchemaError).problem
    assert "without streaming" in refused(rows.to_iterable_dataset(), SchemaError).fix
    assert "neither a Dataset" in refused("synvita/videocon-syn", SchemaError).problem
    assert refused([row(0), ["a", "b"]], SchemaError).row == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("caption", None),
        ("caption", " "),
        ("neg_caption", 3),
        ("id", None),
        ("pair_id", ""),
        ("nle", 5),
        ("real_available", None),
        ("start", "1.0"),
        ("start", -1.0),
        ("end", math.nan),
        ("real_video", 7),
        ("synthetic_video", 7),
    ],
)
def test_cells_of_the_wrong_type(column, value):
    changes = {column: value}
    if column in ("caption", "neg_caption"):
        changes["pair_id"] = "a pair"
        made = row(1) | changes
    else:
        made = row(1, **changes)
    error = refused([row(0), made], SchemaError)
    assert error.row == 1
    assert column in error.problem


def test_a_column_of_videos_of_another_type(tmp_path):
    rows = dataset([row(0)], tmp_path).remove_columns("synthetic_video").add_column("synthetic_video", [1])
    assert "struct" in refused(rows, SchemaError).expected


def test_a_clip_that_ends_before_it_starts():
    assert "2.0 to 1.0" in refused([row(0, start=2.0, end=1.0)], SchemaError).found


def test_a_real_video_that_is_said_to_be_there():
    error = refused([row(0, real_video=None)], SchemaError)
    assert error.row == 0
    assert "real_root" in error.fix


def test_rows_of_one_pair_with_other_captions():
    error = refused([row(0), row(0) | {"caption": "something else"}], SchemaError)
    assert error.row == 1
    assert "row 0" in error.expected


def test_nothing_to_train_on():
    nothing = row(0, real_video=None, real_available=False, weight=0.0)
    error = refused([nothing], SchemaError)
    assert "without_real 1" in error.found
    assert "zero_weight 1" in error.found


def test_scores_missing_for_a_weighting(tmp_path):
    rows = dataset([row(0), row(1, vqascores=[])], tmp_path)
    error = refused(rows, ScoreError, weighting="product")
    assert error.row == 1
    assert "--vqascores" in error.fix
    without = [row(0), row(1, vqascores=[], synthetic_video=None, weight=None)]
    assert TripletData(without, tiny_model(), weighting="product")  # nothing to weigh


@pytest.mark.parametrize(
    "scores",
    [
        [{"model": "one", "neg_caption_score": 0.5, "caption_score": 1.5}],
        [{"model": "one", "neg_caption_score": None, "caption_score": 0.5}],
        [{"model": "one", "neg_caption_score": "0.5", "caption_score": 0.5}],
        [{"model": None, "neg_caption_score": 0.5, "caption_score": 0.5}],
        ["one"],
        # Of another model than the rows before: their means do not compare.
        [{"model": "three", "neg_caption_score": 0.5, "caption_score": 0.5}],
    ],
)
def test_scores_that_are_none(scores):
    assert refused([row(0), row(1, vqascores=scores)], ScoreError, weighting="difference").row == 1


def test_a_caption_with_a_special_token():
    caption = "a red <video> runs"
    changes = {"caption": caption, "shared": {"caption": [], "neg_caption": SHARED, "granularity": "word"}}
    error = refused([row(0), row(1, **changes)], CaptionError)
    assert error.row == 1
    assert "<video>" in error.found
    error = refused([row(0, nle="It is a </s> dog.")], CaptionError)
    assert "explanation" in error.problem
    assert error.row == 0
    assert TripletData([row(0, nle="It is a </s> dog.")], tiny_model(), nle_share=0.0)


def test_texts_beyond_the_context():
    context = tiny_model().family.context
    caption = "dog " * context
    shared = {"caption": [], "neg_caption": SHARED, "granularity": "word"}
    error = refused([row(0), row(1, caption=caption, shared=shared)])
    assert type(error).__name__ == "ContextError"
    assert error.row == 1
    assert f"{context:,}" in error.expected
    assert type(refused([row(0, nle=caption)])).__name__ == "ContextError"


def test_the_longest_caption_that_fits_is_taken():
    """The quick look over all texts leaves the last word to the prompt itself."""
    from synvita_data.captions import Text
    from synvita_data.models.videos import VideoPreparer
    from synvita_data.training.data.text_check import TextCheck

    model = tiny_model()
    preparer = VideoPreparer.of(model)
    video = preparer.smallest()
    check = TextCheck(preparer, "bad data")
    length, words = 0, 0
    while length <= model.family.context:  # the prompt by itself, a word more at a time near the end
        words += max(1, (model.family.context - length) // 8)
        caption = "dog " * words + "dog"
        try:
            length = len(model.prompter.tokens(Text(caption), True, video).ids)
        except SynvitaError:
            break
        check.captions([(caption, 0)])
    with pytest.raises(SynvitaError, match="does not fit"):
        check.captions([(caption, 0)])


@pytest.mark.parametrize(
    "options",
    [
        {"weighting": "none"},
        {"granularity": "letter"},
        {"masked_text": "blank"},
        {"nle_share": 1.5},
        {"nle_share": math.nan},
        {"max_unreadable": -1.0},
    ],
)
def test_options_that_do_not_exist(options):
    with pytest.raises(SynvitaError):
        TripletData([row(0)], tiny_model(), **options)


def test_a_granularity_without_a_fast_tokenizer():
    from synvita_data.training.data.rows import read_rows
    from synvita_data.training.data.selection import shared_of_all

    with pytest.raises(TokenizerError):
        shared_of_all(read_rows([row(0)]), "token", object(), "bad data")


def test_a_held_out_split_without_videos():
    bare = row(0, real_video=None, real_available=False)
    with pytest.raises(SchemaError, match="no row of the held-out split") as caught:
        EvaluationPairs([bare], tiny_model())
    assert "real_root" in caught.value.fix
    with pytest.raises(SchemaError, match="lacks columns"):
        EvaluationPairs([{"id": "a"}], tiny_model())
