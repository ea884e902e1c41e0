"""`load_triplets` on folders written here with pyarrow and a hand-written card (no builder involved)."""

import json
import logging
import textwrap

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synvita_data
from synvita_data.dataset.load import RealCoverage, load_triplets, real_coverage
from synvita_data.errors import SchemaError, SourceError, SynvitaError, UnsafePathError
from synvita_data.schema import MISALIGNMENTS, Triplet, arrow_schema, make_row_id

datasets = pytest.importorskip("datasets")

VATEX = Triplet(
    source="vatex",
    video_id="abcdefghijk_000004_000014",
    videopath="k600_val_abcdefghijk_000004_000014",
    start=4.0,
    end=14.0,
    youtube_key="abcdefghijk",
    caption="a man runs",
    neg_caption="a man walks",
    misalignment="action",
)
MSR_VTT = Triplet(
    source="msr-vtt",
    video_id="video3094",
    videopath="msr-vtt_TrainValVideo_video3094",
    youtube_key="1tCWjXq8ZD8",
    caption="lego figures dance",
    neg_caption="lego figures sing",
    misalignment="action",
)
HUMAN = Triplet(
    source="activitynet",
    video_id="1303",
    video_url="https://example.org/anno_videos/1303.mp4",
    caption="the last goal",
    neg_caption="the first goal",
    hard=True,
    nle="it is the last goal",
)


def row(triplet, *, synthetic=b"", real=None, generator="cogvideox"):
    """A published row, in plain Python."""
    return {
        "id": make_row_id(triplet.pair_id, generator, 1),
        "pair_id": triplet.pair_id,
        **{
            name: getattr(triplet, name)
            for name in ("source", "video_id", "videopath", "start", "end", "youtube_key", "video_url")
        },
        "caption": triplet.caption,
        "neg_caption": triplet.neg_caption,
        "nle": triplet.nle,
        "misalignment": None if triplet.misalignment is None else MISALIGNMENTS.index(triplet.misalignment),
        "hard": triplet.hard,
        "real_video": real,
        "synthetic_video": {"bytes": synthetic, "path": "x_001.mp4"} if synthetic else None,
        "real_available": real is not None and real["bytes"] is not None,
        "generation": None,
        "vqascores": [],
        "weight": 0.25,
        "shared": {"caption": [[0, 5]], "neg_caption": [[0, 5]], "granularity": "word"},
    }


def write_dataset(folder, configs, schema=None, row_group_size=2):
    """`configs`: config -> split -> rows. The first config is the default."""
    entries = []
    for index, (config, splits) in enumerate(configs.items()):
        files = []
        for split, rows in splits.items():
            (folder / config).mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pylist(rows, schema=schema or arrow_schema())
            path = folder / config / f"{split}-00000-of-00001.parquet"
            pq.write_table(table, path, row_group_size=row_group_size)
            files.append({"split": split, "path": f"{config}/{split}-*.parquet"})
        default = {"default": True} if index == 0 else {}
        entries.append({"config_name": config, **default, "data_files": files})
    # JSON is YAML.
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(entries)}\n---\n# A dataset\n")
    return folder


@pytest.fixture
def built(tmp_path):
    return write_dataset(
        tmp_path / "built",
        {
            "cogvideox": {
                "train": [row(VATEX, synthetic=b"v1"), row(MSR_VTT, synthetic=b"v2")],
                "test": [row(HUMAN)],
            },
            "lavie": {"train": [row(VATEX, synthetic=b"l1", generator="lavie")]},
        },
    )


def load(folder, tmp_path, *args, **kwargs):
    return load_triplets(folder, *args, cache_dir=tmp_path / "cache", **kwargs)


def put(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
    return root


def test_plain_load_dataset_reads_what_the_schema_writes(built, tmp_path):
    loaded = datasets.load_dataset(str(built), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train", "test"]
    assert loaded["train"].features["misalignment"].names == list(MISALIGNMENTS)
    assert loaded["train"].features["real_video"] == datasets.Video(decode=False)
    assert loaded["train"][0]["synthetic_video"] == {"bytes": b"v1", "path": "x_001.mp4"}
    assert loaded["test"][0]["misalignment"] is None  # VideoCon-Human names no misalignment


def test_default_config_named_config_and_split(built, tmp_path):
    everything = load(built, tmp_path)
    assert isinstance(everything, datasets.DatasetDict)
    assert {name: len(part) for name, part in everything.items()} == {"train": 2, "test": 1}
    train = load(built, tmp_path, "lavie", split="train")
    assert isinstance(train, datasets.Dataset)
    assert train["id"][:] == [f"{VATEX.pair_id}-lavie-001"]
    assert len(load(built, tmp_path, split="train[:1]")) == 1
    assert len(load(built, tmp_path, split="train+test")) == 3
    assert len(load(built, tmp_path, split=datasets.Split.TRAIN)) == 2
    with pytest.raises(SchemaError, match=r'Write "train\+test"'):
        load(built, tmp_path, split=["train", "test"])
    with pytest.raises(SchemaError, match="real_root is empty"):
        load_triplets(tmp_path / "out", real_root="")
    assert synvita_data.load_triplets is load_triplets


def test_real_videos_are_put_into_their_rows(built, tmp_path):
    root = put(tmp_path / "real", "k600/val/abcdefghijk_000004_000014.mp4")
    plain = load(built, tmp_path)
    loaded = load(built, tmp_path, real_root=root)
    found, absent = loaded["train"][0], loaded["train"][1]
    assert found["real_video"] == {
        "bytes": None,
        "path": str(root / "k600/val/abcdefghijk_000004_000014.mp4"),
    }
    assert found["real_available"] is True
    assert (found["start"], found["end"]) == (None, None)  # the file is the cut clip
    assert absent["real_video"] is None
    assert absent["real_available"] is False
    changed = {"real_video", "real_available", "start", "end"}
    for split in loaded:
        assert loaded[split].features == plain[split].features
        assert loaded[split].column_names == plain[split].column_names
        for before, after in zip(plain[split], loaded[split], strict=True):
            assert all(before[name] == after[name] for name in before if name not in changed)


def test_times_stay_where_the_file_is_the_whole_source_video(built, tmp_path):
    root = put(tmp_path / "real", "youtube/abcdefghijk.webm")
    first = load(built, tmp_path, split="train", real_root=root)[0]
    assert first["real_video"]["path"] == str(root / "youtube/abcdefghijk.webm")
    assert (first["start"], first["end"]) == (4.0, 14.0)


def test_embedded_real_videos_stay_as_they_are(tmp_path):
    """Also in a row group that mixes embedded, referenced and unknown videos."""
    embedded = {"bytes": b"the real one", "path": "r.mp4"}
    referenced = {"bytes": None, "path": "videos/video3094.mp4"}
    rows = [row(VATEX, real=embedded), row(MSR_VTT, real=referenced), row(HUMAN)]
    folder = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}}, row_group_size=3)
    root = put(tmp_path / "real", "abcdefghijk_000004_000014.mp4", "activitynet/1303.mp4")
    loaded = load(folder, tmp_path, split="train", real_root=root)
    assert loaded["real_video"][:] == [
        embedded,
        referenced,
        {"bytes": None, "path": str(root / "activitynet/1303.mp4")},
    ]
    assert loaded["real_available"][:] == [True, False, True]
    assert loaded["start"][:] == [4.0, None, None]


def test_slices_get_their_own_videos(tmp_path):
    """A slice that begins inside a chunk must not shift videos against rows."""
    rows = []
    for number in range(10):
        triplet = Triplet(
            source="msr-vtt", video_id=f"video{number}", caption=f"c{number}", neg_caption=f"n{number}"
        )
        rows.append(row(triplet, synthetic=b"s%d" % number))
    folder = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}}, row_group_size=4)
    root = put(tmp_path / "real", *(f"video{number}.mp4" for number in range(0, 10, 2)))
    loaded = load(folder, tmp_path, split="train[3:9]", real_root=root)
    for number, line in zip(range(3, 9), loaded, strict=True):
        assert line["video_id"] == f"video{number}"
        assert line["synthetic_video"]["bytes"] == b"s%d" % number
        wanted = str(root / f"video{number}.mp4") if number % 2 == 0 else None
        assert (line["real_video"] and line["real_video"]["path"]) == wanted


def test_rows_of_two_splits_and_of_none(built, tmp_path):
    root = put(tmp_path / "real", "activitynet/1303.mp4")
    with pytest.raises(SchemaError, match="no data"):  # `datasets` has no empty slices
        load(built, tmp_path, split="train[:0]", real_root=root)
    both = load(built, tmp_path, split="train+test", real_root=root)
    assert both["real_available"][:] == [False, False, True]


def test_a_mapping_names_files_that_say_nothing(built, tmp_path):
    root = put(tmp_path / "real", "a/0001.mp4")
    mapping = {"msr-vtt_TrainValVideo_video3094": "a/0001.mp4"}
    loaded = load(built, tmp_path, split="train", real_root=root, mapping=mapping)
    assert loaded["real_available"][:] == [False, True]
    with pytest.raises(UnsafePathError):
        load(built, tmp_path, real_root=root, mapping={"msr-vtt_video3094": "../../etc/passwd"})
    with pytest.raises(SchemaError, match="needs the folder"):
        load(built, tmp_path, mapping=mapping)


def test_coverage_counts_rows_and_is_logged(built, tmp_path, caplog):
    root = put(tmp_path / "real", "k600/abcdefghijk_000004_000014.mp4")
    with caplog.at_level(logging.INFO, logger="synvita_data.dataset.load"):
        loaded = load(built, tmp_path, real_root=root)
    expected = RealCoverage(1, 3, {"activitynet": (0, 1), "msr-vtt": (0, 1), "vatex": (1, 1)})
    assert real_coverage(loaded) == expected
    assert real_coverage(loaded["test"]) == RealCoverage(0, 1, {"activitynet": (0, 1)})
    assert "1 of 3 rows" in caplog.text


def test_equal_files_find_the_cache_again_and_others_do_not(built, tmp_path):
    root = put(tmp_path / "real", "abcdefghijk_000004_000014.mp4")
    first = load(built, tmp_path, split="train", real_root=root)
    again = load(built, tmp_path, split="train", real_root=root)
    put(root, "video3094.mp4")
    other = load(built, tmp_path, split="train", real_root=root)
    plain = load(built, tmp_path, split="train")
    fingerprints = [part._fingerprint for part in (first, again, other, plain)]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3
    names = [
        part.map(lambda line: {"has": line["real_available"]}).cache_files[0]["filename"]
        for part in (first, again, other)
    ]
    assert names[0] == names[1] != names[2]
    mapped = other.map(lambda line: {"has": line["real_available"]})
    assert mapped["has"][:] == [True, True]


def test_a_folder_gives_its_own_rows_whatever_the_cache_holds(tmp_path):
    """`datasets` knows a local folder by its last name and its card only."""

    def build(place, video):
        return write_dataset(
            tmp_path / place / "built", {"c": {"train": [row(VATEX, synthetic=video)], "test": [row(HUMAN)]}}
        )

    def video(folder):
        return load(folder, tmp_path, "c", split="train").with_format("arrow")["synthetic_video"][0]["bytes"]

    first, second = build("first", b"v1"), build("second", b"v2")
    assert [video(first).as_py(), video(second).as_py()] == [b"v1", b"v2"]
    build("first", b"v3")  # made again, with the same card
    assert [video(first).as_py(), video(second).as_py()] == [b"v3", b"v2"]


def test_videos_are_not_copied_into_memory(tmp_path):
    """48 MB of embedded videos: the columns are exchanged without holding them."""
    rows = []
    for number in range(24):
        triplet = Triplet(
            source="msr-vtt", video_id=f"video{number}", caption=f"c{number}", neg_caption=f"n{number}"
        )
        rows.append(row(triplet, synthetic=bytes([number]) * (2 << 20)))
    folder = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}})
    root = put(tmp_path / "real", *(f"video{number}.mp4" for number in range(24)))
    load(folder, tmp_path, split="train")
    before = pa.total_allocated_bytes()
    loaded = load(folder, tmp_path, split="train", real_root=root)
    assert real_coverage(loaded).found == 24
    assert pa.total_allocated_bytes() - before < 4 << 20
    assert loaded[23]["synthetic_video"]["bytes"] == bytes([23]) * (2 << 20)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": "sora"}, ["sora", "cogvideox", "lavie"]),
        ({"split": "dev"}, ["dev", "train", "test"]),
        ({"config": "lavie", "split": "test"}, ["test", "train"]),
        ({"split": "train+dev[:2]"}, ["dev", "train", "test"]),
        ({"revision": "v0.1.0"}, ["v0.1.0", "no revisions"]),
    ],
)
def test_unknown_names_list_the_known_ones(built, tmp_path, arguments, words):
    with pytest.raises(SchemaError) as caught:
        load(built, tmp_path, **arguments)
    assert all(word in str(caught.value) for word in words)


def test_folders_that_are_no_datasets(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match=r"README\.md"):
        load(tmp_path / "empty", tmp_path)
    with pytest.raises(SchemaError, match="dataset folder does not exist"):
        load(tmp_path / "nothing", tmp_path)
    with pytest.raises(SchemaError, match="dataset folder does not exist"):
        load("./nothing/at/all", tmp_path)
    with pytest.raises(SourceError, match="folder of real videos does not exist"):
        load(tmp_path / "empty", tmp_path, real_root=tmp_path / "nothing")


def test_another_schema_version_is_refused(tmp_path):
    schema = arrow_schema()
    later = schema.with_metadata({**schema.metadata, b"schema_version": b"2.0"})
    folder = write_dataset(tmp_path / "built", {"c": {"train": [row(VATEX)]}}, schema=later)
    with pytest.raises(SchemaError) as caught:
        load(folder, tmp_path)
    assert "2.0" in str(caught.value)
    assert "1.x" in str(caught.value)


def test_a_folder_that_hides_a_repository_is_loaded_with_a_warning(built, tmp_path, monkeypatch):
    (tmp_path / "synvita").mkdir()
    built.rename(tmp_path / "synvita" / "videocon-syn")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="would hide a Hub repository"):
        assert len(load("synvita/videocon-syn", tmp_path, split="test")) == 1
    assert len(load("./synvita/videocon-syn", tmp_path, split="test")) == 1


def test_a_repository_that_is_not_cached_is_an_error_offline(tmp_path):
    with pytest.raises(SynvitaError):
        load("synvita/no-such-dataset", tmp_path)


@pytest.mark.slow
def test_from_a_hub(built, loopback_hub, tmp_path):
    """Upload with huggingface_hub, load by tag with real videos, and ask for what is not there."""
    from loopback_hub import run_client

    owner = loopback_hub.add_user("synvita")
    root = put(tmp_path / "real", "abcdefghijk_000004_000014.mp4")
    code = textwrap.dedent(
        """
        import sys
        from huggingface_hub import HfApi
        api, repo = HfApi(), "synvita/videocon-syn"
        api.create_repo(repo, repo_type="dataset")
        api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=sys.argv[1])
        api.create_tag(repo, tag="v0.1.0", repo_type="dataset")
        from synvita_data import load_triplets
        train = load_triplets(repo, revision="v0.1.0", split="train", real_root=sys.argv[2])
        print("AVAILABLE", train["real_available"][:], [v["bytes"] for v in train["synthetic_video"][:]])
        for arguments in ({"revision": "v9.9.9"}, {"config": "sora"}, {"split": "dev"}):
            try:
                load_triplets(repo, **arguments)
            except Exception as error:
                print(type(error).__name__, error)
        try:
            load_triplets("synvita/other")
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    done = run_client(code, loopback_hub, str(built), str(root), home=tmp_path, token=owner.token)
    lines = done.stdout.splitlines()
    assert "AVAILABLE [True, False] [b'v1', b'v2']" in lines
    revision, config, split, missing = lines[-4:]
    assert revision.startswith("HubError")
    assert "v0.1.0" in revision
    assert config.startswith("SchemaError")
    assert "lavie" in config
    assert split.startswith("SchemaError")
    assert "train" in split
    assert missing.startswith("HubError")
    cached = """
        import sys
        from synvita_data import load_triplets
        arguments = {"revision": "v0.1.0", "split": "train", "real_root": sys.argv[1]}
        train = load_triplets("synvita/videocon-syn", "cogvideox", **arguments)
        print("OFFLINE", train["real_available"][:])
        """
    done = run_client(textwrap.dedent(cached), loopback_hub, str(root), home=tmp_path, HF_HUB_OFFLINE="1")
    assert "OFFLINE [True, False]" in done.stdout.splitlines(), done.stderr


def test_the_documentation_describes_every_column_and_accepted_name(repo_root):
    from synvita_data.builders.triplets import ALIASES

    text = (repo_root / "docs" / "dataset.md").read_text()
    described = text.split("## Columns")[1].split("## Real videos")[0]
    first_cells = [line.split("|")[1] for line in described.splitlines() if line.startswith("| `")]
    named = [name.strip(" `") for cell in first_cells for name in cell.split(",")]
    assert named == arrow_schema(contrast=True).names
    accepted = text.split("| field | names |")[1].split("\n\n")[0]
    for field, names in ALIASES.items():
        if field != "end":  # shares a line with start
            assert all(name in accepted for name in names), field
