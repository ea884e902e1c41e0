"""`TripletData`: what a dataset's rows become, by every option."""

import math
import pickle
from io import BytesIO

import pytest
import torch
from small_triplets import CAPTIONS, dataset, expected_pixels, mp4, pixels, row, tiny_model
from torch.utils.data import DataLoader

from synvita_data.captions import Text
from synvita_data.errors import SchemaError, SynvitaError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.training import PackedCollator, TripletData
from synvita_data.video import FramePolicy

WHOLE = (Text(CAPTIONS[0]), Text(CAPTIONS[1]))
HIDDEN = (Text(CAPTIONS[0], ((6, 9),)), Text(CAPTIONS[1], ((6, 9),)))  # "dog" and "cat"


def made(rows, **options) -> TripletData:
    return TripletData(rows, tiny_model(), **options)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Three pairs, the second by two generators, as `load_dataset` gives them."""
    return dataset([row(0), row(1), row(1, "lavie"), row(2)], tmp_path_factory.mktemp("rows"))


def test_a_row_becomes_these_tensors(rows):
    triplet = made(rows)[1]
    assert (triplet.row_id, triplet.pair_id) == (rows[1]["id"], rows[1]["pair_id"])
    assert triplet.texts == (*WHOLE, *HIDDEN)
    assert triplet.weight == 0.125
    assert triplet.takes_real
    assert triplet.explanation == "It is a dog, not a cat."
    assert torch.equal(pixels(triplet.real), expected_pixels(mp4(2)))
    assert torch.equal(pixels(triplet.synthetic), expected_pixels(mp4(3)))
    assert pixels(triplet.real).shape == (1, 8, 3, 28, 28)
    assert triplet.real.runs == (8 * 5,)  # 28 px of 14 px patches, and the class token, in eight frames


def test_l_real_and_explanation_are_taken_once_a_pair(rows):
    data = made(rows)
    assert [triplet.takes_real for triplet in data] == [True, True, False, True]
    assert [triplet.explanation is not None for triplet in data] == [True, True, False, True]
    assert data[2].real is not None  # for L_scr
    assert data[2].weight == 0.125
    assert data.counts == {
        "rows": 4,
        "triplets": 4,
        "pairs": 3,
        "videos": 8,
        "takes_real": 3,
        "takes_synthetic": 4,
        "without_real": 0,
        "without_synthetic": 0,
        "zero_weight": 0,
        "with_nle": 3,
        "nle_chosen": 3,
        "dropped": 0,
        "set_aside_real": 0,
        "set_aside_synthetic": 0,
        "unreadable_real": 0,
        "unreadable_synthetic": 0,
        "replaced": 0,
    }


CHOSEN = [
    {"source": "tempo", "weight": 0.5, "hard": True},
    {"source": "tempo", "weight": None, "vqascores": [], "synthetic_video": None, "hard": None},
    {"source": "vatex", "weight": 0.25, "generation": {"generator": "lavie"}},
    {"source": "vatex", "weight": 0.75, "misalignment": 3, "hard": False},
    {"source": "custom", "weight": 1, "misalignment": None},
]


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"source": "tempo"}, [0, 1]),
        ({"source": ["vatex", "custom"]}, [2, 3, 4]),
        ({"weight": {"min": 0.5}}, [0, 3, 4]),
        ({"weight": {"min": 0.25, "max": 0.5}}, [0, 2]),
        ({"source": ["tempo", "vatex"], "weight": {"max": 0.5}}, [0, 2]),
        ({"hard": False}, [3]),
        ({"hard": [True, None]}, [0, 1, 2, 4]),
        ({"misalignment": ["flip", None]}, [3, 4]),
        ({"generator": "lavie"}, [2]),
        ({"video_id": ["v3", "v0", "v9"]}, [0, 3]),
        ('{"source": "vatex"}', [2, 3]),
        (None, [0, 1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("table", [False, True])
def test_rows_are_chosen_by_their_columns(asked, numbers, table, tmp_path):
    rows = [row(n, **changes) for n, changes in enumerate(CHOSEN)]
    data = made(dataset(rows, tmp_path) if table else rows, only=asked)
    assert [triplet.number for triplet in data.triplets] == numbers
    assert data.counts["rows"] == 5
    assert data.counts.get("not_chosen") == (None if asked is None else 5 - len(numbers))


def test_no_row_that_is_chosen_is_an_error_that_names_the_choice():
    rows = [row(n, **changes) for n, changes in enumerate(CHOSEN)]
    with pytest.raises(SynvitaError, match=r"of source vatex, weight from 0.8.*Name other rows"):
        made(rows, only={"source": "vatex", "weight": {"min": 0.8}})
    with pytest.raises(SynvitaError, match="column to choose rows by"):
        made(rows, only={"colour": "red"})


KINDS = [0, 3, 6, None, -1, "flip", 3]  # class numbers as a built dataset has them, and one name


def of_kinds():
    rows = [row(n, misalignment=kind) for n, kind in enumerate(KINDS)]
    rows[5] |= {"vqascores": [], "weight": None, "synthetic_video": None}
    return rows


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        (["action"], [0]),
        (("flip",), [1, 5, 6]),
        (["flip", "action", "flip"], [0, 1, 5, 6]),
        (["relation", "count"], [2]),
        (list(MISALIGNMENTS), [0, 1, 2, 5, 6]),
        (None, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_rows_of_other_misalignments_are_left_out_and_counted(asked, numbers):
    data = made(of_kinds(), misalignments=asked)
    assert [triplet.number for triplet in data.triplets] == numbers
    assert [triplet.row_id for triplet in data] == [of_kinds()[n]["id"] for n in numbers]
    assert data.counts["rows"] == 7
    assert data.counts.get("other_misalignment") == (None if asked is None else 7 - len(numbers))
    assert data.counts["triplets"] == len(numbers)
    # What is left out is not looked at: neither its weight nor its scores.
    bad = [
        {**each, "weight": 7.0, "vqascores": []} if n not in numbers else each
        for n, each in enumerate(of_kinds())
    ]
    assert len(made(bad, misalignments=asked)) == len(numbers)


def test_a_built_dataset_is_chosen_from_by_misalignment(tmp_path):
    kinds = [5, 0, None, 0]
    rows = dataset([row(n, misalignment=kind) for n, kind in enumerate(kinds)], tmp_path)
    data = made(rows, misalignments=["action"])
    assert [triplet.number for triplet in data.triplets] == [1, 3]
    assert torch.equal(pixels(data[1].synthetic), expected_pixels(mp4(7)))
    # Without the option nobody needs the column.
    assert len(made(rows.remove_columns("misalignment"))) == 4
    with pytest.raises(SchemaError, match=r"lacks columns.*also misalignment"):
        made(rows.remove_columns("misalignment"), misalignments=["action"])
    with pytest.raises(
        SchemaError, match=r"no row.*other misalignment 4|other_misalignment 4.*of misalignment flip"
    ):
        made(rows, misalignments=["flip"])


def test_a_broken_video_of_a_chosen_row_is_set_aside_by_its_number(tmp_path):
    broken = {"bytes": b"nothing", "path": "x.mp4"}
    rows = [row(0), row(1), row(2, misalignment=0, synthetic_video=broken), row(3, misalignment=0)]
    data = made(rows, misalignments=["action"])
    assert [triplet.synthetic is None for triplet in data] == [True, False]
    assert data.counts["unreadable_synthetic"] == 1
    data = made(rows, misalignments=["action"])
    assert [(each.kind, tuple(each.rows)) for each in data.check_videos()] == [("synthetic", (2,))]
    assert data.counts["set_aside_synthetic"] == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["actions"], "unknown misalignment.*'actions'.*action, attribute, count"),
        ("flips", "unknown misalignment.*flips"),
        ([], "no misalignment is named"),
        ([3], "unknown misalignment"),
    ],
)
def test_misalignments_that_do_not_exist_are_refused(asked, words):
    with pytest.raises(SynvitaError, match=words):
        made([row(0)], misalignments=asked)


@pytest.mark.parametrize("cell", [7, -2, "verb", True, 0.5, [0]])
def test_a_cell_that_is_no_misalignment_is_named(cell):
    with pytest.raises(SchemaError, match=r"row 1\b.*not of a known kind"):
        made([row(0), row(1, misalignment=cell)], misalignments=["object"])


def test_without_scr_a_second_row_of_a_pair_needs_no_real_video_and_no_masks(rows):
    unmasked = rows.remove_columns("shared")
    triplet = made(unmasked, use_scr=False)[2]
    assert triplet.real is None
    assert triplet.texts == (*WHOLE, *WHOLE)


def test_videocon_takes_each_pair_once_and_looks_at_no_synthetic_column(rows):
    bare = rows.remove_columns(["synthetic_video", "weight", "vqascores", "shared"])
    data = made(bare, use_synthetic=False)
    assert [triplet.row_id for triplet in data] == [rows[i]["id"] for i in (0, 1, 3)]
    assert all(triplet.synthetic is None and triplet.weight == 0 for triplet in data)
    assert (data.counts["dropped"], data.counts["without_synthetic"]) == (1, 0)


def test_rows_that_lack_something_train_the_rest():
    no_real = {"real_video": None, "real_available": False}
    no_synthetic = {"synthetic_video": None, "weight": None, "vqascores": []}
    data = made(
        [
            row(0, **no_real),
            row(1, **no_synthetic),
            row(2, weight=0.0),
            row(3, weight=0.0, **no_real),  # nothing to train
            row(4, nle=None),
            row(5, **no_real, **no_synthetic),  # nothing to train
            row(6, weight=0.0, nle=" "),
            row(6, "lavie"),
        ]
    )
    shape = [
        (t.real is not None, t.synthetic is not None, t.weight, t.takes_real, t.explanation is not None)
        for t in data
    ]
    assert shape == [
        (False, True, 0.125, False, False),
        (True, False, 0.0, True, True),
        (True, False, 0.0, True, True),
        (True, True, 0.125, True, False),
        (True, False, 0.0, True, False),
        (True, True, 0.125, False, False),
    ]
    found = {name: data.counts[name] for name in EXPECTED_COUNTS}
    assert found == EXPECTED_COUNTS


EXPECTED_COUNTS = {  # of the eight rows above, by hand
    "rows": 8,
    "triplets": 6,
    "pairs": 5,
    "videos": 8,
    "takes_real": 4,
    "takes_synthetic": 3,
    "without_real": 3,
    "without_synthetic": 2,
    "zero_weight": 3,
    "with_nle": 2,
    "dropped": 2,
}


def test_a_video_of_weight_zero_is_never_opened():
    data = made([row(0, weight=0.0, synthetic_video={"bytes": b"no video", "path": None})])
    assert data[0].synthetic is None
    assert data.counts["unreadable_synthetic"] == 0


@pytest.mark.parametrize(
    ("weighting", "weight"),
    # f̄(V^s,t^s) = (0.75 + 0.5) / 2 = 0.625 and f̄(V^s,t^r) = (0.25 + 0.5) / 2 = 0.375
    [
        ("difference", 0.25),
        ("fixed", 1.0),
        ("match", 0.625),
        ("product", 0.625 * 0.625),
        ("indicator", 1.0),
    ],
)
def test_weightings_from_the_scores(weighting, weight):
    data = made([row(0)], weighting=weighting)
    assert math.isclose(data[0].weight, weight, rel_tol=1e-12)


def test_a_fixed_weight_needs_no_scores(rows):
    bare = rows.remove_columns(["weight", "vqascores"])
    assert [triplet.weight for triplet in made(bare, weighting="fixed").triplets] == [1.0] * 4


def test_granularities_find_masks_anew():
    other = {"caption": "a red dog", "neg_caption": "a red cat", "shared": None}
    for granularity in ("word", "token", "released"):
        texts = made([row(0, **other)], granularity=granularity)[0].texts
        assert [text.caption for text in texts] == ["a red dog", "a red cat"] * 2
        assert texts[0].hidden == texts[1].hidden == ()
        if granularity != "released":  # there shared digits of ids decide
            assert texts[2].hidden == texts[3].hidden == ((6, 9),)


@pytest.mark.parametrize(
    ("caption", "shared", "left"),
    [
        ("厨房里吃苹果", [(0, 3), (4, 6)], "厨房里苹果"),
        ("ผู้ชายกินแอปเปิล", [(0, 6), (9, 16)], "ผู้ชายแอปเปิล"),
        ("厨房 吃 苹果", [(0, 2), (5, 7)], "厨房 苹果"),  # there were spaces
        ("dog吃苹果", [(0, 3), (4, 6)], "dog 苹果"),
        ("a red cat", [(0, 1), (6, 9)], "a cat"),
        ("두 남자 셋", [(0, 1), (5, 6)], "두 셋"),
    ],
)
def test_removed_words_leave_a_space_only_where_spaces_part_words(caption, shared, left):
    from synvita_data.training.data.selection import mask_caption

    assert mask_caption(caption, shared, "remove").caption == left


def test_masked_texts_can_have_words_removed():
    spans = {"caption": [[0, 5], [10, 14], [14, 15], [21, 26]], "neg_caption": [], "granularity": "word"}
    texts = made([row(0, shared=spans)], masked_text="remove")[0].texts
    assert texts[2] == Text("a red runs, rests")
    assert texts[3] == Text("")
    alignment = tiny_model()
    odds = alignment([alignment.prepare(_noise())], [texts]).log_odds
    assert odds.isfinite().all()


def _noise():
    from synvita_data.video import decode

    return decode(mp4(0), FramePolicy(count=8, rule="linspace"))


def test_a_share_of_pairs_trains_explanations_whatever_the_order():
    many = [row(0, id=f"r{i}", pair_id=f"pair{i}") for i in range(400)]

    def chosen(rows, **options):
        return {t.pair_id for t in made(rows, **options).triplets if t.explanation}

    quarter, half = chosen(many, nle_share=0.25), chosen(many, nle_share=0.5)
    assert quarter < half  # the share only grows
    assert 60 < len(quarter) < 140  # 4 standard deviations and more
    assert 150 < len(half) < 250
    assert chosen(many[::-1], nle_share=0.25) == quarter
    assert chosen(many[:100], nle_share=0.25) == quarter & {f"pair{i}" for i in range(100)}
    assert chosen(many, nle_share=0.25, seed=1) != quarter
    assert len(chosen(many)) == 400
    bare = [{key: value for key, value in each.items() if key != "nle"} for each in many]
    assert chosen(bare, nle_share=0.0) == set()


def test_start_and_end_are_of_the_real_video_alone():
    triplet = made([row(0, start=0.5, end=1.0)])[0]  # frames 2 and 3 of 4 a second
    assert torch.equal(pixels(triplet.real), expected_pixels(mp4(0), 0.5, 1.0))
    assert not torch.equal(pixels(triplet.real), expected_pixels(mp4(0)))
    assert torch.equal(pixels(triplet.synthetic), expected_pixels(mp4(1)))


def test_frames_can_be_chosen():
    triplet = made([row(0)], frames=FramePolicy(count=3))[0]
    assert pixels(triplet.real).shape[1] == 3


def test_selections_and_orders_of_a_dataset_are_followed(rows):
    assert [t.row_id for t in made(rows.select([3, 0])).triplets] == [rows[3]["id"], rows[0]["id"]]
    some = dataset_of_flags(rows)
    assert [t.synthetic for t in made(some.select([1, 0, 1])).triplets] == [True, False, True]


def dataset_of_flags(rows):
    """Row 0 without its synthetic video, over the same table."""
    import datasets

    listed = rows.to_list()
    listed[0] |= {"synthetic_video": None, "weight": None}
    return datasets.Dataset.from_list(listed, features=rows.features)


def test_rows_may_be_mappings_and_indices_numpy(rows):
    listed = made(rows.to_list())
    data = made(rows)
    for index in range(4):
        assert listed[index].texts == data[index].texts
        assert torch.equal(pixels(listed[index].real), pixels(data[index].real))
    assert data[torch.tensor(3).numpy()].row_id == data[-1].row_id
    with pytest.raises(IndexError):
        data[4]


def same(batches, others) -> None:
    for batch, other in zip(batches, others, strict=True):
        for one, two in zip(batch["triplets"], other["triplets"], strict=True):
            assert (one.row_id, one.texts, one.weight) == (two.row_id, two.texts, two.weight)
            assert torch.equal(pixels(one.real), pixels(two.real))
            assert torch.equal(pixels(one.synthetic), pixels(two.synthetic))


def loader(data, **options) -> DataLoader:
    return DataLoader(data, batch_size=3, collate_fn=PackedCollator(), **options)


def test_two_workers_give_what_none_gives(rows):
    data = made(rows)
    same(loader(data), loader(data, num_workers=2, multiprocessing_context="fork"))


@pytest.mark.slow
def test_a_spawned_worker_gives_the_same(rows):
    data = made(rows)
    same(loader(data), loader(data, num_workers=1, multiprocessing_context="spawn"))


def test_what_goes_to_a_spawned_worker_holds_no_weights(rows):
    class Seen(pickle.Pickler):
        def reducer_override(self, obj):
            assert not isinstance(obj, torch.nn.Module)
            return NotImplemented

    sent = BytesIO()
    Seen(sent).dump(made(rows))
    arrived = pickle.loads(sent.getvalue())  # noqa: S301
    assert torch.equal(pixels(arrived[1].real), expected_pixels(mp4(2)))
