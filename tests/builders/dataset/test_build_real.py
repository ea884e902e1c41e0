"""The nine real synthetic videos, three configs: what comes back from `load_dataset` is what went in."""

import csv

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.dataset.load import load_triplets

GENERATORS = ("cogvideox", "lavie", "videocrafter2")
# The captions of the synthetic videos are known; those of the real ones are not, so they are made up.
ROWS = [
    ("msr-vtt_TrainValVideo_video6323", "msr-vtt", "a man talks about his plate of tacos")
    + ("a man talks about his plate of tacos while wearing a sombrero", "hallucination"),
    ("k600_val_5H02ohmoKow_000068_000078", "vatex", "A man is climbing a palm tree.")
    + ("A man is trimming the bottom of a palm tree and then climbs it", "action"),
    ("k600_val_dXx58z-yq2g_000003_000013", "vatex", "Man is holding one dumbbell in his hand.")
    + ("Man is holding two large dumbbells which he raises up and down in both of his hands.", "count"),
    ("k600_val_y5xuvHpDPZQ_000005_000015", "vatex")
    + ("A soccer team walking off the field while the audience claps.",)
    + ("A basketball team walking off the field while the audience claps.", "object"),
]


def test_nine_real_videos_come_back_byte_for_byte(real_data, tmp_path):
    import datasets

    samples = real_data / "synvita-samples"
    triplets = tmp_path / "triplets.csv"
    with triplets.open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [("videopath", "source", "caption", "neg_caption", "misalignment"), *ROWS]
        )
    for name in GENERATORS:
        result = build_dataset(
            BuildOptions(
                triplets=triplets, synthetic=f"folder:{samples / name}", config=name, out=tmp_path / "out"
            )
        )
        assert result.quarantine == []
        assert result.record["coverage"]["synthetic_video"] == [3, 4]

    seen = {}
    for name in GENERATORS:
        rows = datasets.load_dataset(
            str(tmp_path / "out"), name, split="train", cache_dir=str(tmp_path / "cache")
        )
        for row in rows:
            if video := row["synthetic_video"]:
                assert video["bytes"] == (samples / name / video["path"]).read_bytes()
                seen[name, video["path"]] = row["neg_caption"]
    assert len(seen) == 9
    assert seen["lavie", "msr-vtt_video6323_001.mp4"] == ROWS[0][3]

    default = load_triplets(tmp_path / "out", split="train", real_root=samples, cache_dir=tmp_path / "cache")
    assert set(default["id"]) == set(
        datasets.load_dataset(
            str(tmp_path / "out"), "cogvideox", split="train", cache_dir=str(tmp_path / "cache")
        )["id"]
    )
    soccer = next(row for row in default if "soccer" in row["caption"])
    assert soccer["real_available"]
    assert soccer["real_video"]["path"].endswith("y5xuvHpDPZQ_000005_000015.mp4")
    assert (soccer["start"], soccer["end"]) == (None, None)  # that file is the ten seconds already
