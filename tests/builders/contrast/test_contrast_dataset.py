"""The record of a contrast caption: from the annotation file to the published column, its card and back; old datasets stay."""

import csv
import json
import shutil
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import run_program

from synvita_data import load_triplets
from synvita_data.builders.contrast.writing.report import triplets_csv
from synvita_data.builders.contrast_columns import CHECKS, contrast_struct, read_contrast
from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.publish.folder import read_built_folder
from synvita_data.builders.shapes import draw_pairs
from synvita_data.builders.triplets import TripletReader
from synvita_data.errors import SchemaError
from synvita_data.schema import ContrastCheck, ContrastRecord, Triplet, arrow_schema, features

# One worker makes the chain.
pytestmark = pytest.mark.xdist_group("contrast chain")

OLD = Path(__file__).parents[2] / "stored_work/files"
RECORD = ContrastRecord(
    writer="llm:org/model",
    revision="0123abcd",
    prompts="feed",
    settings='{"temperature": 0.7}',
    seed=(1 << 62) + 3,
    source_phrase="dog",
    target_phrase="cat, or “two”",
    candidates=4,
    checks=(
        ContrastCheck(name="mechanical", revision="1"),
        ContrastCheck(name="nli", score=0.015625, model="org/nli", revision="main", threshold=0.5),
        ContrastCheck(name="frame-vqa", model="org/vqa", threshold=0.5),
    ),
)
TRIPLET = Triplet(
    source="msr-vtt",
    video_id="video1",
    videopath="video1.mp4",
    caption="a dog runs",
    neg_caption="a cat, or “two” runs",
    misalignment="object",
    nle='It is a "dog", not a cat.',
    contrast=RECORD,
)


def write(path: Path, *triplets: Triplet) -> Path:
    path.write_text(triplets_csv(triplets))
    return path


def test_the_reader_understands_the_columns(tmp_path):
    (read,) = TripletReader(write(tmp_path / "t.csv", TRIPLET))
    assert read.contrast == RECORD
    assert read.pair_id == TRIPLET.pair_id
    assert (read.nle, read.misalignment) == (TRIPLET.nle, TRIPLET.misalignment)


words = st.text(
    st.characters(categories=("L", "N", "P"), exclude_characters="#=-"), min_size=3, max_size=9
).map(lambda text: f"x{text}")
records = st.builds(
    ContrastRecord,
    writer=words,
    revision=st.none() | words,
    prompts=st.none() | words,
    settings=st.none()
    | st.dictionaries(words, st.integers() | words, max_size=2).map(lambda d: json.dumps(d, sort_keys=True)),
    seed=st.none() | st.integers(0, (1 << 63) - 1),
    source_phrase=st.none() | words,
    target_phrase=st.none() | words,
    candidates=st.none() | st.integers(1, 99),
    checks=st.lists(
        st.builds(
            ContrastCheck,
            name=st.sampled_from(CHECKS),
            score=st.none() | st.floats(0, 1),
            model=st.none() | words,
            revision=st.none() | words,
            threshold=st.none() | st.floats(0, 1),
        ),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=40)
@given(records)
def test_every_record_survives_both_forms(tmp_path_factory, record):
    import dataclasses

    path = tmp_path_factory.getbasetemp() / "property.csv"
    (read,) = TripletReader(write(path, dataclasses.replace(TRIPLET, contrast=record)))
    assert read.contrast == record
    assert read_contrast({"contrast_record": contrast_struct(record)}) == record


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("contrast_seed", "-1", "not one of 0, 1, 2"),
        ("contrast_candidates", "two", "not one of 0, 1, 2"),
        ("contrast_checks", "[{", "not JSON"),
        ("contrast_checks", "{}", "another kind of JSON"),
        ("contrast_checks", '[{"name": "guess"}]', "unknown check"),
        ("contrast_checks", '[{"name": "nli", "score": "high"}]', "not a number"),
        ("contrast_settings", "[]", "another kind of JSON"),
        ("source_phrase", "a\x1b[31m", "control character"),
    ],
)
def test_a_cell_that_cannot_be_is_a_fault_of_its_row(tmp_path, column, cell, said):
    with (tmp_path / "t.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [["caption", "neg_caption", column], ["a dog", "a cat", cell], ["b dog", "b cat", ""]]
        )
    reader = TripletReader(tmp_path / "t.csv")
    assert [triplet.caption for triplet in reader] == ["b dog"]
    (error,) = reader.report.quarantined
    assert isinstance(error, SchemaError)
    assert said in str(error)
    assert error.row == 0


def test_a_column_contrast_may_be_the_contrast_caption(tmp_path):
    (tmp_path / "t.csv").write_text("caption,contrast\na dog,a cat\n")
    (read,) = TripletReader(tmp_path / "t.csv")
    assert (read.neg_caption, read.contrast) == ("a cat", None)
    # Or something else of a user's, beside it.
    (tmp_path / "u.csv").write_text("caption,neg_caption,contrast\na dog,a cat,0.7\n")
    (read,) = TripletReader(tmp_path / "u.csv")
    assert read.contrast is None


@pytest.fixture
def built(tmp_path):
    other = Triplet(source="msr-vtt", video_id="video2", caption="a man sings", neg_caption="a man talks")
    path = write(tmp_path / "triplets.csv", TRIPLET, other)
    result = build_dataset(BuildOptions(triplets=path, out=tmp_path / "out", config="plain"))
    return tmp_path / "out", result


def test_the_built_dataset_has_one_column_more(built):
    out, _ = built
    (file,) = (out / "plain").glob("*.parquet")
    schema = pq.read_schema(file)
    assert schema.metadata[b"schema_version"] == b"1.1"
    assert schema.names == [*arrow_schema().names, "contrast"]
    rows = load_triplets(str(out), split="train")
    assert rows.features["contrast"] == features(contrast=True)["contrast"]
    assert rows[0]["contrast"] == json.loads(json.dumps(contrast_struct(RECORD)))
    assert rows[1]["contrast"] is None
    # Plainly loaded too, and read again as an annotation file.
    plain = datasets.load_dataset(str(out), split="train", download_mode="force_redownload")
    assert plain[0]["contrast"] == rows[0]["contrast"]
    assert [triplet.contrast for triplet in TripletReader(file)] == [RECORD, None]
    assert json.loads((out / "build.json").read_text())["schema_version"] == "1.1"
    read_built_folder(out)  # as publishing does


@pytest.mark.slow
def test_card_and_inspect_say_where_contrast_captions_come_from(built, capsys):
    out, result = built
    (writer,) = result.record["contrast"]["writers"]
    assert (writer["writer"], writer["prompts"], writer["pairs"]) == ("llm:org/model", "feed", 1)
    assert writer["misalignment"] == {"object": 1}
    card = (out / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("**Contrast captions:**"))
    for said in (
        "1 of 2 pairs by llm:org/model",
        "revision 0123abcd",
        "prompts feed",
        "object 1 (100.0%)",
        "nli by org/nli at 0.5",
    ):
        assert said in line
    assert "of 1 pairs it is not recorded" in card
    assert "name: contrast" in card
    assert run_program("inspect", out, "--figures", out / "figures") == 0
    assert "1 of 2 pairs by llm:org/model" in " ".join(capsys.readouterr().out.split())


def test_text_of_others_does_nothing_in_the_card(tmp_path):
    import dataclasses

    evil = dataclasses.replace(RECORD, writer="<script>alert(1)</script>[x](http://a.org)", checks=())
    path = write(tmp_path / "t.csv", dataclasses.replace(TRIPLET, contrast=evil))
    build_dataset(BuildOptions(triplets=path, out=tmp_path / "out", config="plain"))
    card = (tmp_path / "out/README.md").read_text()
    assert "<script>" not in card
    assert "](http://a.org)" not in card


def test_ids_are_those_without_a_record(built, tmp_path):
    import dataclasses

    out, _ = built
    path = write(tmp_path / "without.csv", dataclasses.replace(TRIPLET, contrast=None))
    build_dataset(BuildOptions(triplets=path, out=tmp_path / "without", config="plain"))
    (before,) = (tmp_path / "without/plain").glob("*.parquet")
    (after,) = (out / "plain").glob("*.parquet")
    found = pq.read_schema(before)
    assert (found.names, found.types) == (arrow_schema().names, arrow_schema().types)
    assert found.metadata == arrow_schema().metadata
    assert pq.read_table(before)["id"].to_pylist() == pq.read_table(after)["id"].to_pylist()[:1]


@pytest.mark.slow
def test_an_old_dataset_loads_is_trained_on_and_lies_beside_a_new_one(tmp_path):
    from synvita_data.training.data.rows import read_rows

    needed = ("nle", "synthetic_video", "weight", "vqascores", "shared", "misalignment")

    out = shutil.copytree(OLD / "dataset", tmp_path / "out")
    old = load_triplets(str(out), "cogvideox", split="train")
    assert "contrast" not in old.features
    assert len(read_rows(old, optional=needed)) == len(old) == 4
    # A new config in the same folder: both are read, also together, where the old rows have no record.
    path = write(tmp_path / "t.csv", TRIPLET)
    build_dataset(BuildOptions(triplets=path, out=out, config="new"))
    assert pq.read_schema(next((out / "cogvideox").glob("train-*"))).metadata[b"schema_version"] == b"1.0"
    assert load_triplets(str(out), "new", split="train")[0]["contrast"]["writer"] == "llm:org/model"
    assert load_triplets(str(out), "cogvideox", split="train")["id"] == old["id"]
    every = load_triplets(str(out), "all", split="train")
    assert [row["contrast"] is None for row in every].count(False) == 1
    assert len(every) > len(old)
    assert len(read_rows(every, optional=needed)) == len(every)


def test_saved_subsets_keep_the_record(built, tmp_path):
    out, _ = built
    rows = load_triplets(str(out), split="train")
    rows.to_parquet(tmp_path / "subset.parquet")
    rows.save_to_disk(tmp_path / "saved")
    rows.remove_columns("synthetic_video").to_json(tmp_path / "rows.jsonl")
    for name in ("subset.parquet", "saved", "rows.jsonl"):
        again = load_triplets(str(tmp_path / name), split="train")
        assert again[0]["contrast"] == rows[0]["contrast"], name
        assert again[1]["contrast"] is None, name


# -- the whole chain --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A dataset of captions alone."""
    place = tmp_path_factory.mktemp("chain")
    with (place / "captions.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["video_id", "source", "caption", "split"])
        for pair in draw_pairs(14):
            table.writerow([pair.triplet.video_id, "shapes", pair.triplet.caption, pair.triplet.split])
    arguments = ["build", "--captions", place / "captions.csv", "--writer", "shapes", "--per-caption", 1]
    arguments += ["--synthetic", "shapes:", "--out", place / "out"]
    assert run_program(*arguments) == 0
    return place, arguments


def test_from_captions_alone_to_a_dataset(chain):
    place, _ = chain
    rows = load_triplets(str(place / "out"), split="train")
    assert len({row["video_id"] for row in rows}) == len(rows) > 9
    for row in rows:
        assert row["contrast"]["writer"] == "shapes"
        assert row["synthetic_video"]["bytes"]
        assert row["nle"]
    record = json.loads((place / "out/build.json").read_text())["configs"]["shapes"]["contrast"]
    assert sum(record["writers"][0]["misalignment"].values()) == record["pairs"] == 14


def test_the_chain_again_has_nothing_to_do(chain, capsys):
    place, arguments = chain
    before = {path: path.read_bytes() for path in (place / "out").rglob("*.parquet")}
    assert run_program(*arguments) == 0
    assert "already up to date" in " ".join(capsys.readouterr().out.split())
    assert {path: path.read_bytes() for path in (place / "out").rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "neither --triplets nor --captions"),
        (["--captions", "c.csv"], "go together"),
        (["--triplets", "t.csv", "--captions", "c.csv", "--writer", "shapes"], "--triplets and --captions"),
        (["--triplets", "t.csv", "--writer", "shapes"], "go together"),
        (["--triplets", "t.csv", "--per-caption", "2"], "--per-caption"),
    ],
)
def test_options_of_a_build_that_do_not_go_together(tmp_path, capsys, arguments, said):
    assert run_program("build", *arguments, "--out", tmp_path / "out") == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
