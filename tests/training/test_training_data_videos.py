"""Videos that turn out broken, before training and during it, and the feature cache."""

import json
from dataclasses import asdict

import pytest
import torch
from small_triplets import dataset, expected_pixels, mp4, pixels, row, tiny_model
from torch.utils.data import DataLoader

from synvita_data.errors import SchemaError, SynvitaError, VideoError
from synvita_data.models import EncodedVideo, PreparedVideo, videos
from synvita_data.training import PackedCollator, TripletData
from synvita_data.training.data.features import check_frozen_tower, feature_cache_of, fill_feature_cache
from synvita_data.video import MissingBackendError

BROKEN = {"bytes": mp4(0)[:200], "path": "cut.mp4"}


def broken_rows():
    """0 whole; 1 without its synthetic video; 2 without its real one; 3 and 4 without both; 5 whole."""
    return [
        row(0),
        row(1, synthetic_video=BROKEN),
        row(2, real_video=BROKEN),
        row(3, real_video=BROKEN, synthetic_video=BROKEN),
        row(4, real_video=BROKEN, weight=0.0),
        row(5),
    ]


def videos_of(triplet):
    return triplet.real is not None, triplet.synthetic is not None


@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_with_what_is_left(workers, tmp_path, caplog):
    list_of_broken = tmp_path / "run" / "unreadable.jsonl"
    data = TripletData(broken_rows(), tiny_model(), quarantine=list_of_broken)
    loader = DataLoader(data, batch_size=2, num_workers=workers, collate_fn=PackedCollator())
    for _ in range(2):  # a second epoch counts nothing twice
        batches = [batch["triplets"] for batch in loader]
        assert [len(batch) for batch in batches] == [2, 2, 2]
        rows = [int(t.row_id.split("_v")[1][0]) for batch in batches for t in batch]
        assert rows == [0, 1, 2, 5, 5, 5]  # the next that can be read stands in for those without a video
        first = batches[0][1]
        assert videos_of(first) == (True, False)
        assert (first.takes_real, first.weight, first.explanation is not None) == (True, 0.0, True)
        second = batches[1][0]
        assert videos_of(second) == (False, True)
        assert (second.takes_real, second.weight, second.explanation) == (False, 0.125, None)
    found = {name: data.counts[name] for name in ("unreadable_real", "unreadable_synthetic", "replaced")}
    assert found == {"unreadable_real": 3, "unreadable_synthetic": 2, "replaced": 2}
    lines = [json.loads(line) for line in list_of_broken.read_text().splitlines()]
    assert sorted((line["dataset_row"], line["video"]) for line in lines) == [
        (1, "synthetic"),
        (2, "real"),
        (3, "real"),
        (3, "synthetic"),
        (4, "real"),
    ]
    assert {line["reason"] for line in lines} == {"TruncatedVideoError"}
    if not workers:
        assert "row 1, synthetic video set aside" in caplog.text


def test_too_many_broken_videos_are_an_error():
    rows = [row(i, synthetic_video=BROKEN) for i in range(12)]
    data = TripletData(rows, tiny_model(), max_unreadable=0.25)
    for index in range(8):
        assert videos_of(data[index]) == (True, False)
    with pytest.raises(VideoError, match="9 of 24 videos cannot be read"):
        data[8]
    patient = TripletData(rows, tiny_model(), max_unreadable=0.5)
    assert len(list(patient)) == 12


def test_a_restart_knows_what_was_broken(tmp_path):
    file = tmp_path / "unreadable.jsonl"
    options = {"max_unreadable": 0.25}
    rows = [row(i, synthetic_video=BROKEN) for i in range(12)]
    first = TripletData(rows, tiny_model(), **options, quarantine=file)
    with pytest.raises(VideoError, match="9 of 24"):
        list(first)
    assert len(file.read_text().splitlines()) == 9
    again = TripletData(rows, tiny_model(), **options, quarantine=file)
    assert again.counts["unreadable_synthetic"] == 9
    with pytest.raises(VideoError, match=r"9 of 24 .*remove .*unreadable\.jsonl"):
        again[0]  # not nine more
    whole = [row(i) for i in range(12)]  # the folder is back
    assert videos_of(TripletData(whole, tiny_model(), **options, quarantine=file)[0]) == (True, True)
    patient = TripletData(rows, tiny_model(), max_unreadable=0.5, quarantine=file)
    with file.open("a") as handle:
        handle.write('{"dataset": "a list of 12')  # a killed writer's
    assert len(list(patient)) == 12
    lines = file.read_text().splitlines()
    assert len(lines) == 13  # nine, the torn one, three new ones: none of them twice
    rows_of = [json.loads(line)["dataset_row"] for line in (*lines[:9], *lines[10:])]
    assert rows_of == list(range(12))


def test_lines_of_other_rows_count_nothing(tmp_path):
    file = tmp_path / "unreadable.jsonl"
    list(TripletData(broken_rows(), tiny_model(), quarantine=file, name="one"))
    counted = ("unreadable_real", "unreadable_synthetic", "replaced")

    def counts(rows, name="one"):
        data = TripletData(rows, tiny_model(), quarantine=file, name=name)
        return tuple(data.counts[key] for key in counted), data

    assert counts(broken_rows())[0] == (3, 2, 2)
    assert counts(broken_rows(), "another")[0] == (0, 0, 0)
    assert counts(broken_rows()[::-1])[0] == (0, 0, 0)  # the ids of these numbers are others
    checked = counts(broken_rows())[1]
    checked.check_videos()
    assert tuple(checked.counts[key] for key in counted) == (0, 0, 0)
    assert (checked.counts["set_aside_real"], checked.counts["set_aside_synthetic"]) == (3, 2)


def test_processes_count_each_others_finds(tmp_path):
    """Two that share nothing but the file."""
    file = tmp_path / "unreadable.jsonl"
    rows = [row(i, synthetic_video=BROKEN) for i in range(12)]
    one, other = (TripletData(rows, tiny_model(), max_unreadable=0.25, quarantine=file) for _ in range(2))
    for index in range(4):
        one[index], other[index + 4]
    assert len(file.read_text().splitlines()) == 8
    with pytest.raises(VideoError, match="9 of 24"):
        one[8]


def test_nothing_that_can_be_read_is_an_error_and_no_endless_walk():
    rows = [row(i, real_video=BROKEN, synthetic_video=BROKEN) for i in range(3)]
    with pytest.raises(VideoError, match="one after the other"):
        TripletData(rows, tiny_model(), max_unreadable=1.0)[0]


def test_a_missing_decoder_is_nobodys_broken_video(monkeypatch):
    def none(*arguments, **options):
        raise MissingBackendError("no decoder")

    monkeypatch.setattr(videos, "decode", none)
    data = TripletData([row(0)], tiny_model())
    with pytest.raises(MissingBackendError):
        data[0]
    assert data.counts["unreadable_real"] == 0


def test_videos_can_be_checked_before_training():
    data = TripletData(broken_rows(), tiny_model())
    found = data.check_videos()
    assert sorted((each.kind, each.rows) for each in found) == [
        ("real", (2,)),
        ("real", (3,)),
        ("real", (4,)),
        ("synthetic", (1,)),
        ("synthetic", (3,)),
    ]
    assert [t.number for t in data.triplets] == [0, 1, 2, 5]
    assert [videos_of(t) for t in data] == [(True, True), (True, False), (False, True), (True, True)]
    counts = data.counts
    assert (counts["set_aside_real"], counts["set_aside_synthetic"]) == (3, 2)
    assert (counts["dropped"], counts["unreadable_real"]) == (2, 0)
    assert data.check_videos() == []


def test_a_pair_turns_to_its_other_file_when_the_first_is_broken(tmp_path):
    """Also where that file was not to be read before, and is broken too."""
    paths = [tmp_path / name for name in ("cut.mp4", "cut too.mp4", "whole.mp4")]
    for path, data in zip(paths, (BROKEN["bytes"], BROKEN["bytes"], mp4(0)), strict=True):
        path.write_bytes(data)
    rows = [
        row(0, generator, real_video={"bytes": None, "path": str(path)})
        for generator, path in zip("abc", paths, strict=True)
    ]
    data = TripletData(rows, tiny_model(), use_scr=False)
    assert [t.real for t in data.triplets] == [True, False, False]
    assert [each.rows for each in data.check_videos()] == [(0,), (1,)]
    assert [t.real for t in data.triplets] == [False, False, True]
    assert data[2].takes_real


def test_a_file_of_many_rows_is_looked_at_once(tmp_path):
    path = tmp_path / "shared.mp4"
    path.write_bytes(BROKEN["bytes"])
    rows = [row(i, real_video={"bytes": None, "path": str(path)}) for i in range(3)]
    rows.append(row(3, real_video={"bytes": None, "path": str(path)}, start=0.0, end=1.0))
    data = TripletData(dataset(rows, tmp_path), tiny_model())
    assert len(data.distinct_videos()) == 2 + 4
    seen = []
    found = data.check_videos(on_progress=lambda done, total: seen.append((done, total)))
    assert [each.rows for each in found] == [(0, 1, 2), (3,)]
    assert seen == [(i, 6) for i in range(1, 7)]


def test_a_clip_behind_the_end_of_its_file_is_found():
    data = TripletData([row(0, start=60.0, end=70.0), row(1)], tiny_model())
    (found,) = data.check_videos()
    assert found.rows == (0,)
    assert "1.50 s" in found.error.found  # 6 frames, 4 a second
    with pytest.raises(SchemaError, match="no row of the dataset trains anything"):
        TripletData([row(0, start=60.0, weight=0.0)], tiny_model()).check_videos()


def test_a_clip_before_the_first_frame_of_its_file_is_found():
    data = TripletData([row(0, end=0.0), row(1)], tiny_model())
    (found,) = data.check_videos()
    assert found.rows == (0,)
    assert "up to 0 s" in found.error.found


@pytest.fixture
def frozen():
    model = tiny_model()
    before = [parameter.requires_grad for parameter in model.parameters()]
    yield model.requires_grad_(False)
    for parameter, flag in zip(model.parameters(), before, strict=True):
        parameter.requires_grad_(flag)


def test_cached_features_stand_for_the_decoded_videos(frozen, tmp_path, monkeypatch):
    rows = [row(0), row(0, "lavie"), row(1, weight=0.0), row(2, real_video=BROKEN)]
    cache = feature_cache_of(frozen, "revision", tmp_path / "features")
    plain = TripletData(rows, frozen)
    data = TripletData(rows, frozen, cache=cache)
    assert isinstance(data[0].real, PreparedVideo)  # not there yet
    # Uses of videos: 0 real, 0 synthetic, then the same bytes for its other row, 1 real, 2 real (broken), 2 synthetic.
    report = fill_feature_cache(data, frozen, shard=(0, 2))
    assert asdict(report) == {"videos": 4, "found": 1, "made": 3, "not_kept": 0, "unreadable": 0}
    report = fill_feature_cache(data, frozen)
    assert asdict(report) == {"videos": 7, "found": 5, "made": 1, "not_kept": 0, "unreadable": 1}
    again = fill_feature_cache(data, frozen)
    assert (again.made, again.found) == (0, 6)

    expected = [plain[index] for index in range(4)]
    monkeypatch.setattr(videos, "decode", None)  # whatever is decoded now fails
    for index in range(3):
        triplet = data[index]
        for video, other in (
            (triplet.real, expected[index].real),
            (triplet.synthetic, expected[index].synthetic),
        ):
            if other is None:
                assert video is None
                continue
            assert isinstance(video, EncodedVideo)
            with torch.no_grad():
                cached = frozen([video], [triplet.texts]).log_odds
                assert torch.equal(cached, frozen([other], [triplet.texts]).log_odds)


def test_workers_read_the_cache(frozen, tmp_path):
    cache = feature_cache_of(frozen, "revision", tmp_path / "features")
    data = TripletData([row(0), row(1)], frozen, cache=cache)
    fill_feature_cache(data, frozen)
    alone = [batch["triplets"][0] for batch in DataLoader(data, collate_fn=PackedCollator())]
    loader = DataLoader(data, num_workers=2, collate_fn=PackedCollator(), multiprocessing_context="fork")
    for one, batch in zip(alone, loader, strict=True):
        (other,) = batch["triplets"]
        assert torch.equal(one.real.features["patches"], other.real.features["patches"])


def test_the_scorer_finds_what_training_kept(frozen, tmp_path):
    """One folder for both: `AlignmentScorer.open(cache=…)` makes equal keys."""
    from synvita_data.scoring import ScoringItem
    from synvita_data.scoring.alignment import AlignmentScorer
    from synvita_data.testing import make_tiny

    checkpoint = make_tiny("video_llava", tmp_path / "model")
    scorer = AlignmentScorer.open(str(checkpoint), device="cpu", cache=tmp_path / "features")
    model = scorer.model.requires_grad_(False)
    data = TripletData([row(0)], model, cache=feature_cache_of(model, scorer.revision, tmp_path / "features"))
    fill_feature_cache(data, model)
    texts = data[0].texts
    items = [ScoringItem("a", "a", mp4(0), texts, tuple("abcd"))]
    before = sorted((tmp_path / "features").rglob("*.safetensors"))
    (answer,) = scorer.score(items)
    assert sorted((tmp_path / "features").rglob("*.safetensors")) == before  # it added nothing
    assert len(before) == 2
    assert torch.isfinite(torch.from_numpy(answer.scores)).all()


def test_a_full_cache_says_so(frozen, tmp_path):
    full = feature_cache_of(frozen, "revision", tmp_path / "full", max_bytes=1)
    data = TripletData([row(0)], frozen, cache=full)
    report = fill_feature_cache(data, frozen)
    assert (report.made, report.not_kept) == (0, 2)
    assert torch.equal(pixels(data[0].real), expected_pixels(mp4(0)))


def test_a_tower_that_moves_has_no_cache(frozen, tmp_path):
    check_frozen_tower(frozen)
    next(frozen.family.backbone.video_tower.parameters()).requires_grad_(True)
    with pytest.raises(SynvitaError, match="tower that is trained"):
        check_frozen_tower(frozen)
    frozen.requires_grad_(False)
    frozen.family.backbone.multi_modal_projector.requires_grad_(True)  # comes behind the features
    check_frozen_tower(frozen)
    with pytest.raises(SynvitaError, match="no feature cache to fill"):
        fill_feature_cache(TripletData([row(0)], frozen), frozen)


def test_an_adapted_tower_has_no_cache(tmp_path):
    from peft import LoraConfig, get_peft_model

    from synvita_data.models import AlignmentModel

    alignment = tiny_model.__wrapped__()
    network, processor = alignment.model, alignment.family.processor
    both = get_peft_model(network, LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(SynvitaError, match="tower that is trained"):
        feature_cache_of(AlignmentModel(both, processor), "revision", tmp_path)
