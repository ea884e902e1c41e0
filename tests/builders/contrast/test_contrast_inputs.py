"""Videos with captions are read from every form that they are published in; bad rows are set aside, with their reason."""

import csv
import json
import textwrap

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import write_small_dataset

from synvita_data.builders.contrast.writing.inputs import CaptionReader
from synvita_data.errors import SynvitaError

MSR_VTT = {
    "info": {"year": "2016"},
    "videos": [
        {
            "category": 9,
            "url": "https://www.youtube.com/watch?v=9lZi22qLlEo",
            "video_id": "video0",
            "start time": 137.72,
            "end time": 149.44,
            "split": "train",
            "id": 0,
        },
        {
            "category": 16,
            "url": "https://www.youtube.com/watch?v=w4JM08PDEng",
            "video_id": "video1",
            "start time": 184.33,
            "end time": 198.37,
            "split": "validate",
            "id": 1,
        },
        {
            "video_id": "video2",
            "url": "https://example.org/x.mp4",
            "start time": 9,
            "end time": 3,
            "split": "test",
        },
    ],
    "sentences": [
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 0},
        {"caption": "in a kitchen a woman adds different ingredients", "video_id": "video1", "sen_id": 1},
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 2},
        {"caption": "nobody knows me", "video_id": "video77", "sen_id": 3},
        {"caption": "", "video_id": "video1", "sen_id": 4},
        {"caption": "its part ends before it starts", "video_id": "video2", "sen_id": 5},
        "not an object",
    ],
}
VATEX = [
    {
        "videoID": "Ptf_2VRj-V0_000122_000132",
        "enCap": ["A woman walks a dog.", "A woman walks a dog.", "Two dogs run.", 7],
        "chCap": ["一个女人"],
    },
    {"videoID": "zoYSO6pLkQE_000004_000014", "enCap": ["A man lifts weights."]},
    {"videoID": "nothing_to_say", "enCap": []},
    {"videoID": "8yS2wqwActs_000002_000012"},
]


def read(path, **more):
    reader = CaptionReader(path, **more)
    return list(reader), reader.report


def write_json(path, document, **more):
    path.write_text(json.dumps(document, **more))
    return path


@pytest.mark.parametrize("indent", [None, 2])
def test_msr_vtt(tmp_path, indent):
    rows, report = read(write_json(tmp_path / "train_val_videodatainfo.json", MSR_VTT, indent=indent))
    first, second = rows
    assert (first.source, first.video_id, first.caption, first.split) == (
        "msr-vtt",
        "video0",
        "a car is shown",
        "train",
    )
    assert (first.start, first.end, first.youtube_key) == (137.72, 149.44, "9lZi22qLlEo")
    assert (second.video_id, second.split) == ("video1", "validation")
    # As in VideoCon, whose ids of the same pairs these are.
    assert first.triplet("a truck is shown").pair_id.startswith("msr-vtt_video0_")
    assert (report.rows, report.captions, report.videos, report.duplicates) == (7, 2, 2, 1)
    faults = {error.row: error for error in report.quarantined}
    assert sorted(faults) == [3, 4, 5, 6]
    assert faults[3].found == "video_id 'video77'"
    assert "empty" in faults[4].problem
    assert "ends before it starts" in faults[5].problem
    assert all(str(tmp_path) in error.file for error in faults.values())


def test_msr_vtt_without_splits_is_training_data(tmp_path):
    video = {"video_id": "video0", "start time": 1.0, "end time": 5.5, "url": "https://youtu.be/9lZi22qLlEo"}
    document = {"videos": [video], "sentences": [{"video_id": "video0", "caption": "a car is shown"}]}
    rows, report = read(write_json(tmp_path / "videos.json", document))
    assert [(row.split, row.start, row.youtube_key) for row in rows] == [("train", 1.0, "9lZi22qLlEo")]
    assert report.quarantined == []


def test_vatex(tmp_path):
    rows, report = read(write_json(tmp_path / "vatex_training_v1.0.json", VATEX))
    assert [row.caption for row in rows] == ["A woman walks a dog.", "Two dogs run.", "A man lifts weights."]
    assert {row.source for row in rows} == {"vatex"}
    assert (rows[0].video_id, rows[0].start, rows[0].end) == ("Ptf_2VRj-V0_000122_000132", 122, 132)
    assert report.duplicates == 1
    assert [(error.row, error.found) for error in report.quarantined][:2] == [(0, "caption 4: 7"), (2, "[]")]
    assert report.quarantined[2].row == 3
    assert "encap" in report.quarantined[2].expected


def test_a_csv_like_videocons_may_have_contrast_captions_already(tmp_path):
    path = tmp_path / "videocon.csv"
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [
                ["videopath", "source", "caption", "neg_caption", "youtube_key", "split", "misalignment"],
                ["video3094", "msr-vtt", "a dog runs", "a cat runs", "", "train", "object"],
                ["video3094", "msr-vtt", "a dog runs", "a dog sleeps", "", "train", "action"],
                ["video3094", "msr-vtt", "a dog runs", "two dogs run", "", "test", "count"],
                ["../../etc/passwd", "msr-vtt", "a dog runs", "a cat runs", "", "train", ""],
            ]
        )
    rows, report = read(path)
    assert [(row.video_id, row.caption) for row in rows] == [("video3094", "a dog runs")]
    assert report.duplicates == 1
    assert [error.row for error in report.quarantined] == [2, 3]
    assert report.quarantined[0].found == "split 'test', and 'train' in row 0"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_any_table_with_a_caption_column(tmp_path, suffix):
    path, records = (
        tmp_path / f"captions{suffix}",
        [{"Video": "a/1.mp4", "Sentence": "a dog, running"}, {"Video": "2.mp4", "Sentence": "he sings"}],
    )
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif suffix in (".jsonl", ".json"):
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    else:
        with path.open("w", newline="") as handle:
            table = csv.DictWriter(handle, list(records[0]), delimiter="," if suffix == ".csv" else "\t")
            table.writeheader()
            table.writerows(records)
    rows, _ = read(path, source="mine", split="validation")
    assert [(r.source, r.video_id, r.caption, r.split) for r in rows] == [
        ("mine", "a%2F1", "a dog, running", "validation"),
        ("mine", "2", "he sings", "validation"),
    ]


def test_a_caption_cell_may_be_a_list(tmp_path):
    path = tmp_path / "captions.parquet"
    pq.write_table(pa.table({"video_id": ["video7"], "caption": [["one dog", "a dog runs"]]}), path)
    assert [row.caption for row in read(path)[0]] == ["one dog", "a dog runs"]


def test_captions_without_a_video(tmp_path):
    (tmp_path / "lines.csv").write_text("text\na dog runs\n")
    (row,), _ = read(tmp_path / "lines.csv")
    assert row.video_id.startswith("text-")


def test_folders_of_datasets(tmp_path):
    parts = {
        "train": datasets.Dataset.from_dict({"video_id": ["v1", "v2"], "caption": [["a", "b c"], ["d"]]}),
        "validation": datasets.Dataset.from_dict({"video_id": ["v3"], "caption": [["e"]]}),
    }
    expected = [("v1", "a", "train"), ("v1", "b c", "train"), ("v2", "d", "train"), ("v3", "e", "validation")]
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    (tmp_path / "plain").mkdir()
    for name, part in parts.items():
        part.to_parquet(tmp_path / "plain" / f"{name}-00000-of-00001.parquet")
    for folder in ("saved", "plain"):
        rows, report = read(tmp_path / folder)
        assert [(row.video_id, row.caption, row.split) for row in rows] == expected
        assert [row.row for row in rows] == [0, 0, 1, 2]
        assert report.rows == 3


def test_a_built_dataset_gives_its_captions_without_its_videos(tmp_path):
    out = write_small_dataset(tmp_path)
    rows, _ = read(out)
    assert rows
    assert all(row.caption and row.video_id for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.json", json.dumps(MSR_VTT)[:300], "not JSON"),
        ("empty.json", "", "not JSON"),
        ("list.json", '[{"video": "a", "words": "b"}]', "no column for caption"),
        ("odd.json", '{"videos": {}, "sentences": []}', "not a list"),
        ("captions.txt", "a dog", "not a format"),
        ("table.csv", "video,words\na,b\n", "no column for caption"),
        ("rows.csv", "video,caption\n", "no rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_error(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(SynvitaError, match=said) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "no/captions.csv", "no-such-folder"])
def test_a_missing_file_is_no_dataset_of_the_hub(tmp_path, name):
    with pytest.raises(SynvitaError, match=r"does not exist|not a format"):
        read(tmp_path / name)


def test_a_table_has_no_configs(tmp_path):
    (tmp_path / "c.csv").write_text("caption\na dog\n")
    with pytest.raises(SynvitaError, match="no configs"):
        read(tmp_path / "c.csv", config="main")


def test_a_folder_without_data_is_one_error(tmp_path):
    with pytest.raises(SynvitaError, match="cannot be opened"):
        read(tmp_path)


@pytest.mark.slow
def test_a_dataset_of_the_hub(loopback_hub, tmp_path):
    """By its name and by a commit; in a process that may talk to the Hub of this machine."""
    from loopback_hub import run_client

    owner = loopback_hub.add_user("synvita")
    part = datasets.Dataset.from_dict({"video_id": ["v1", "v2"], "caption": [["a", "b c"], ["d"]]})
    part.to_parquet(tmp_path / "part.parquet")
    code = """
        import sys
        from huggingface_hub import HfApi
        from synvita_data.builders.contrast.writing.inputs import CaptionReader
        from synvita_data.errors import SynvitaError
        api = HfApi()
        api.create_repo("synvita/captions", repo_type="dataset")
        done = api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo="data/train-00000-of-00001.parquet",
                               repo_id="synvita/captions", repo_type="dataset")
        for name in ("synvita/captions", f"synvita/captions@{done.oid}"):
            print([(row.video_id, row.caption, row.split) for row in CaptionReader(name)])
        try:
            list(CaptionReader("synvita/nothing"))
        except SynvitaError as error:
            print(type(error).__name__, error.file)
    """
    done = run_client(
        textwrap.dedent(code), loopback_hub, str(tmp_path / "part.parquet"), home=tmp_path, token=owner.token
    )
    first, second, refused = done.stdout.strip().splitlines()[-3:]
    assert first == second == "[('v1', 'a', 'train'), ('v1', 'b c', 'train'), ('v2', 'd', 'train')]"
    assert refused == "HubError synvita/nothing"
