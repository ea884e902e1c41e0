"""`score_videos` and its job with tiny real models: tables, faults, sharing of work, real videos."""

import hashlib
import json
import math
import shutil
from dataclasses import dataclass, replace

import pytest

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.vqascore import VqaScoreJob, VqaSettings, find_model, score_videos
from synvita_data.builders.vqascore.job import read_frames
from synvita_data.errors import SynvitaError, VideoError
from synvita_data.jobs import Store, processes, run_job
from synvita_data.schema import Triplet
from synvita_data.tables.scores import read_scores
from synvita_data.video import FramePolicy
from synvita_data.weights import weight

MIDPOINTS = [1, 4, 7, 10]  # of 12 frames in four segments


@pytest.fixture
def models(tiny):
    return [find_model(str(tiny(family))) for family in ("clip_flant5", "llava")]


def cells(path):
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def test_a_table_of_every_frame_and_model_that_build_takes(inputs, models, tmp_path):
    out = tmp_path / "scores.parquet"
    report = score_videos(inputs.triplets, inputs.spec, models, out)
    assert (report.exit_status, report.complete, report.table, report.written) == (0, True, out, 40)
    rows = cells(out)
    assert [row["model"] for row in rows] == ["clip_flant5"] * 20 + ["llava"] * 20
    assert [row["frame"] for row in rows] == MIDPOINTS * 10
    assert {row["revision"] for row in rows[:20]} == {models[0].revision}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs.videos]
    assert [row["sha256"] for row in rows[:20:4]] == digests
    assert {(row["generator"], row["sample"]) for row in rows} == {("lavie", 1)}
    assert rows[0]["method"] == (
        "reference score; vicuna prompt; pad preprocessing; 4 segment-midpoints frames, pyav; float32"
    )
    table = read_scores(out, inputs.triplets)
    assert (table.models, len(table), table.problems()) == (("clip_flant5", "llava"), 5, [])
    for triplet in inputs.triplets:
        row_id = f"{triplet.pair_id}-lavie-001"
        found = table.for_row(row_id, triplet.pair_id, triplet.row, caption=triplet.caption)
        own = [row for row in rows if row["id"] == row_id]
        by_hand = {}
        for side in ("neg_caption_score", "caption_score"):
            means = [math.fsum(row[side] for row in own if row["model"] == name) / 4 for name in table.models]
            assert [getattr(score, side) for score in found] == means
            by_hand[side] = math.fsum(means) / 2
        difference = by_hand["neg_caption_score"] - by_hand["caption_score"]
        assert weight(found) == max(0.0, difference)
        assert abs(difference) > 1e-7
    dataset = build_dataset(
        BuildOptions(
            triplets=inputs.file,
            out=tmp_path / "dataset",
            config="lavie",
            synthetic=inputs.spec,
            vqascores=out,
        )
    )
    assert dataset.record["coverage"]["vqascores"] == [5, 5]
    assert dataset.record["scores"]["video_named_by"] == {"sha256": 5, "name": 0, "nothing": 0}
    assert dataset.quarantine == []
    assert "**Scores:**" not in (tmp_path / "dataset/README.md").read_text()


def test_scores_are_the_models_own(inputs, models, tmp_path):
    """Against the scorer called by hand on decoded frames, which test_vqa_scorers holds to the stock forward."""
    from synvita_data.builders.vqascore.models import open_scorer
    from synvita_data.video import decode

    out = tmp_path / "scores.parquet"
    score_videos(inputs.triplets, inputs.spec, models[:1], out)
    scorer = open_scorer(models[0])
    rows = cells(out)
    for number, triplet in enumerate(inputs.triplets):
        frames = decode(inputs.videos[number], FramePolicy(indices=tuple(MIDPOINTS)))
        (found,) = scorer.log_probs([scorer.prepare(frames, (triplet.neg_caption, triplet.caption))])
        for frame, row in zip(found.tolist(), rows[4 * number : 4 * number + 4], strict=True):
            assert row["neg_caption_score"] == pytest.approx(math.exp(sum(frame[0]) / 2), rel=1e-12)
            assert row["caption_score"] == pytest.approx(math.exp(sum(frame[1]) / 2), rel=1e-12)


def test_another_kind_of_score_runs_no_model(inputs, models, tmp_path):
    out, work = tmp_path / "scores.parquet", tmp_path / "work"
    score_videos(inputs.triplets, inputs.spec, models, out, work=work)
    gone = [replace(model, location=str(tmp_path / "gone")) for model in models]
    first = tmp_path / "first.parquet"
    report = score_videos(inputs.triplets, inputs.spec, gone, first, work=work, score="first-token")
    assert [(job.made, job.found) for job in report.jobs] == [(0, 5), (0, 5)]
    rows, kept = cells(first), next(iter(Store(work / "vqascore").records(report_keys(gone, work, inputs))))
    assert {row["method"].partition(";")[0] for row in rows} == {"first-token score"}
    assert rows[0]["neg_caption_score"] == math.exp(kept.fields["log_probs"][0][0][0])
    assert cells(out)[0]["neg_caption_score"] != rows[0]["neg_caption_score"]


def report_keys(models, work, inputs):
    return make_job(work, models[0], inputs).keys


def make_job(work, model, inputs, settings=None):
    from synvita_data.builders.vqascore.run import plan_rows

    plan = plan_rows(inputs.triplets, inputs.found(), "lavie", Store(work / "videos"))
    return VqaScoreJob(work / "vqascore", model, settings or VqaSettings(), tuple(plan.rows))


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(inputs, models, tmp_path, monkeypatch):
    import transformers  # noqa: F401  (before the fork)

    from synvita_data.builders.vqascore import clip_flant5  # noqa: F401

    monkeypatch.setattr(processes, "START_METHOD", "fork")
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    score_videos(inputs.triplets, inputs.spec, models[:1], one)
    report = score_videos(inputs.triplets, inputs.spec, models[:1], two, workers=2)
    assert report.jobs[0].made == 5
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_rows_in_one_batch_agree_to_rounding(inputs, models, tmp_path):
    one, three = tmp_path / "one.parquet", tmp_path / "three.parquet"
    score_videos(inputs.triplets, inputs.spec, models[:1], one)
    score_videos(inputs.triplets, inputs.spec, models[:1], three, settings=VqaSettings(batch_rows=3))
    for a, b in zip(cells(one), cells(three), strict=True):
        assert a["id"] == b["id"]
        assert a["caption_score"] == pytest.approx(b["caption_score"], abs=1e-5)


@pytest.mark.slow
def test_an_incomplete_run_writes_beside_and_the_next_one_finishes(inputs, models, tmp_path):
    out, partial = tmp_path / "scores.parquet", tmp_path / "scores.partial.parquet"
    report = score_videos(inputs.triplets, inputs.spec, models, out, limit=2)
    assert (report.complete, report.table, report.written, report.exit_status) == (False, partial, 16, 0)
    assert not out.exists()
    assert report.lines()[-1].startswith("not complete: 16 scores in ")
    assert "llava: 2 of 5 rows have scores, 0 failed, 3 still to do" in report.lines()
    assert len(read_scores(partial, inputs.triplets)) == 2
    report = score_videos(inputs.triplets, inputs.spec, models, out)
    assert [(job.found, job.made) for job in report.jobs] == [(2, 3), (2, 3)]
    assert report.complete
    assert not partial.exists()
    whole = tmp_path / "whole.parquet"
    score_videos(inputs.triplets, inputs.spec, models, whole)
    assert whole.read_bytes() == out.read_bytes()


@pytest.mark.slow
def test_a_table_of_an_earlier_run_is_not_taken_for_this_ones(inputs, models, tmp_path):
    out = tmp_path / "scores.parquet"
    score_videos(inputs.triplets, inputs.spec, models[:1], out)
    before = out.read_bytes()
    too_many = VqaSettings(frames=FramePolicy(count=1000, rule="segment-midpoints"))
    report = score_videos(inputs.triplets, inputs.spec, models[:1], out, settings=too_many)
    assert (report.table, report.stale, report.exit_status) == (None, True, 1)
    assert "the table that is there is of an earlier run, not of this one" in report.lines()
    assert out.read_bytes() == before


def test_videos_that_are_not_made_yet_are_not_made_in_passing(inputs, models, tmp_path):
    with pytest.raises(SynvitaError, match="synvita generate"):
        score_videos(inputs.triplets, "diffusers:somebody/model", models, tmp_path / "new" / "scores.parquet")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_shards_are_disjoint_and_make_the_whole(inputs, models, tmp_path):
    out = tmp_path / "scores.parquet"
    first = score_videos(inputs.triplets, inputs.spec, models[:1], out, shard="0/2")
    second = score_videos(inputs.triplets, inputs.spec, models[:1], out, shard="1/2")
    assert first.jobs[0].made + second.jobs[0].made == 5
    assert not first.complete or first.jobs[0].made == 5
    assert second.complete


def quarantine(work):
    lines = (work / "vqascore-quarantine.jsonl").read_text().splitlines()
    return {record.get("id", ""): record for record in map(json.loads, lines)}


def test_bad_rows_cost_themselves_only(inputs, models, tmp_path):
    """A video that is cut, one of three frames, a caption too long, one with the image's token, none at all."""
    from dataclasses import replace as with_

    from synvita_data.video import encode_mp4

    content = inputs.videos[0].read_bytes()
    inputs.videos[0].write_bytes(content[: len(content) // 2])
    encode_mp4(read_pixels(3), 8, inputs.videos[1])
    inputs.videos[4].unlink()
    triplets = list(inputs.triplets)
    triplets[2] = with_(triplets[2], neg_caption="a dog " * 3000)
    triplets[3] = with_(triplets[3], caption="an <image> of a dog")
    extra = Triplet(source="msr-vtt", video_id="video9", caption="a dog", neg_caption="a cat")
    shutil.copy(inputs.videos[2], inputs.videos[2].with_name("msr-vtt_video9_001.mp4"))
    out = tmp_path / "scores.parquet"
    report = score_videos([*triplets, extra], inputs.spec, models[1:], out)
    assert (report.exit_status, report.complete, report.written) == (1, True, 4)
    assert (report.jobs[0].total, report.jobs[0].failed, report.plan.without_video) == (4, 3, 1)
    found = quarantine(out.with_suffix(".work"))
    ids = [f"{triplet.pair_id}-lavie-001" for triplet in triplets]
    assert set(found) == set(ids[:4])
    assert [found[row_id]["stage"] for row_id in ids[:4]] == ["videos", "vqascore", "vqascore", "vqascore"]
    assert [found[row_id]["reason"] for row_id in ids[:4]] == [
        "TruncatedVideoError",
        "VideoError",
        "CaptionError",
        "CaptionError",
    ]
    assert "fewer frames" in found[ids[1]]["problem"]
    assert {row["id"] for row in cells(out)} == {f"{extra.pair_id}-lavie-001"}
    text = "\n".join(report.lines())
    for words in ("3 failed", "1 video cannot be scored", "1 triplet has no synthetic video", "too long"):
        assert words in text


def read_pixels(frames):
    import numpy as np

    return np.random.default_rng(frames).integers(0, 255, (frames, 32, 48, 3), dtype=np.uint8)


@pytest.mark.slow
def test_a_video_that_changes_behind_our_back_is_mended_by_the_next_run(inputs, models, tmp_path):
    """Deleted and cut between check and scoring: two rows are set aside; back in place, both are scored."""
    out, work = tmp_path / "scores.parquet", tmp_path / "work"
    job = make_job(work, models[1], inputs)
    contents = [path.read_bytes() for path in inputs.videos[:2]]
    inputs.videos[0].unlink()
    inputs.videos[1].write_bytes(contents[1][:-100])
    report = run_job(job)
    assert (report.done, report.failed, report.exit_status) == (3, 2, 1)
    reasons = {failure.error["problem"] for failure in report.failures}
    assert reasons == {"a video can no longer be read", "a video has changed since it was checked"}
    for path, content in zip(inputs.videos, contents, strict=False):
        path.write_bytes(content)
    again = score_videos(inputs.triplets, inputs.spec, models[1:], out, work=work)
    assert (again.jobs[0].found, again.jobs[0].made, again.exit_status, again.complete) == (3, 2, 0, True)


@dataclass(frozen=True)
class Stumbling(VqaScoreJob):
    """The job, with a model that raises when it sees the image of one row with a word of its caption."""

    error: type[Exception] = RuntimeError

    def open_worker(self, device):
        worker = super().open_worker(device)
        scorer, bad = worker.scorer, worker.scorer.question(self.rows[2].neg_caption)
        stock = scorer.log_probs

        def log_probs(batch):
            if any(bad in video.questions for video in batch):
                raise self.error("this input is more than the model can take")
            return stock(batch)

        scorer.log_probs = log_probs
        return worker


@pytest.mark.parametrize("batch_rows", [1, 3])
def test_a_model_that_raises_on_one_row_goes_on(inputs, models, tmp_path, batch_rows):
    plain = make_job(tmp_path, models[1], inputs, VqaSettings(batch_rows=batch_rows))
    job = Stumbling(plain.root, plain.model, plain.settings, plain.rows)
    report = run_job(job)
    assert (report.done, report.failed, report.crashes) == (4, 1, ())
    (failure,) = report.failures
    assert failure.key == job.keys[2]
    assert failure.error["reason"] == "RuntimeError"
    again = run_job(plain, retry_failed=True)
    assert (again.found, again.made, again.exit_status) == (4, 1, 0)


@pytest.mark.slow
def test_lost_memory_is_the_workers_fault_not_the_rows(inputs, models, tmp_path):
    plain = make_job(tmp_path, models[1], inputs)
    report = run_job(Stumbling(plain.root, plain.model, plain.settings, plain.rows, MemoryError))
    assert report.crashes
    assert report.done == 4
    again = run_job(plain, retry_failed=True)
    assert again.exit_status == 0


def test_equal_videos_with_equal_captions_are_scored_once(inputs, models, tmp_path):
    shutil.copy(inputs.videos[0], inputs.videos[0].with_name("msr-vtt_video0_002.mp4"))
    report = score_videos(inputs.triplets, inputs.spec, models[1:], tmp_path / "scores.parquet")
    assert (report.jobs[0].total, report.jobs[0].made, report.written) == (5, 5, 24)
    rows = cells(tmp_path / "scores.parquet")
    samples = [[row["caption_score"] for row in rows if row["id"].endswith(f"-{n:03d}")][:4] for n in (1, 2)]
    assert samples[0] == samples[1]


def test_keys_hang_on_everything_that_scores_do(inputs, models, tmp_path):
    job = make_job(tmp_path, models[0], inputs)
    row = job.rows[0]
    keys = {job.keys[0]}
    others = [
        replace(job, rows=(row._replace(sha256="0" * 64),)),
        replace(job, rows=(row._replace(caption="another"),)),
        replace(job, rows=(row._replace(caption=row.neg_caption, neg_caption=row.caption),)),
        replace(job, model=replace(job.model, revision="other")),
        *(
            replace(job, settings=replace(job.settings, **change))
            for change in (
                {"dtype": "bfloat16"},
                {"preprocessing": "hf"},
                {"frames": FramePolicy(count=8)},
                {"frames": FramePolicy(count=4, rule="linspace")},
            )
        ),
    ]
    for other in others:
        keys.add(other.keys[0])
    assert len(keys) == 1 + len(others)
    for same in (
        replace(job, rows=(row._replace(id="other", video="/elsewhere.mp4"),)),
        replace(job, model=replace(job.model, label="other", location="elsewhere")),
        replace(job, settings=replace(job.settings, batch_rows=2, threads=8)),
    ):
        assert same.keys[0] == job.keys[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"out": "scores.csv"}, "Parquet"),
        ({"models": 0}, "different names"),
        ({"models": 2}, "different names"),
        ({"score": "mean"}, "unknown score"),
    ],
)
def test_unusable_arguments_are_refused_before_long_work(inputs, models, tmp_path, change, problem):
    out = tmp_path / change.get("out", "scores.parquet")
    chosen = [models[0]] * change["models"] if "models" in change else models
    with pytest.raises(SynvitaError, match=problem):
        score_videos(inputs.triplets, inputs.spec, chosen, out, score=change.get("score"))
    assert not out.exists()


def test_frames_come_from_the_bytes_that_were_checked(inputs, models, tmp_path):
    job = make_job(tmp_path, models[0], inputs)
    frames = read_frames(job.rows[0], job.settings)
    assert list(frames.indices) == MIDPOINTS
    assert frames.source == job.rows[0].video
    with pytest.raises(VideoError, match="has changed"):
        read_frames(job.rows[0]._replace(sha256="0" * 64), job.settings)


REAL = {  # generator -> frames that its released samples have
    "cogvideox": 49,
    "lavie": 32,
    "videocrafter2": 32,
}
REAL_CAPTIONS = {
    ("msr-vtt", "video6323"): "a man talks about his plate of tacos while wearing a sombrero",
    (
        "vatex",
        "5H02ohmoKow_000068_000078",
    ): "A man is trimming the bottom of a palm tree and then climbs it",
    (
        "vatex",
        "dXx58z-yq2g_000003_000013",
    ): "Man is holding two large dumbbells which he raises up and down in both of his hands.",
}


@pytest.mark.slow
def test_nine_real_videos(real_data, tiny, tmp_path):
    import av

    triplets = [
        Triplet(source=source, video_id=video, caption="a woman sings", neg_caption=caption)
        for (source, video), caption in REAL_CAPTIONS.items()
    ]
    model = find_model(str(tiny("clip_flant5")))
    for generator, expected in REAL.items():
        folder, out = real_data / "synvita-samples" / generator, tmp_path / f"{generator}.parquet"
        report = score_videos(triplets, f"folder:{folder}", [model], out)
        assert (report.exit_status, report.written) == (0, 12)
        for path in sorted(folder.glob("*.mp4")):
            with av.open(str(path)) as container:
                assert sum(packet.size > 0 for packet in container.demux(video=0)) == expected
        midpoints = [(2 * k + 1) * expected // 8 for k in range(4)]
        rows = cells(out)
        assert [row["frame"] for row in rows] == midpoints * 3
        assert all(0 < row["neg_caption_score"] < 1 for row in rows)
        assert len({row["neg_caption_score"] for row in rows}) == 12
        assert {row["id"].split("-")[-2] for row in rows} == {generator}
