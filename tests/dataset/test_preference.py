"""Preference data: every row of a dataset by hand, the three formats by strict validators, what is left out, and that
nothing of a real video but its path is in an export."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dataset.preference_formats import VALIDATORS
from dataset.test_dataset import HUMAN, MSR_VTT, VATEX, row, write_dataset
from small_dataset import write_small_dataset
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.dataset.preference_export import FORMATS, export_preferences
from synvita_data.errors import SynvitaError
from synvita_data.schema import MISALIGNMENTS
from synvita_data.video import encode_mp4

datasets = pytest.importorskip("datasets")

SECRET = b"REAL-VIDEO-OF-SOMEBODY"
QUESTION = 'Does this video entail the description: "{}"?'
OTHER = {"Yes": "No", "No": "Yes"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """`datasets` takes folders of one name with equal cards for one dataset, and the rows of the first from its cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("preference")


@pytest.fixture(scope="module")
def built(shared):
    """Two pairs with both videos (one of two samples), one without a synthetic video, and weights."""
    second = row(MSR_VTT, synthetic=b"s3", generator="lavie") | {"weight": 0.75}
    rows = [
        row(VATEX, synthetic=b"s1") | {"weight": 0.5},
        row(MSR_VTT, synthetic=b"s2"),  # weight 0.25
        second,
        row(HUMAN) | {"weight": None},
    ]
    return write_dataset(shared / "built", {"cogvideox": {"train": rows, "test": rows[:1]}})


@pytest.fixture(scope="module")
def root(shared):
    """Real videos: a clip that is cut, a whole file, and the whole source of no row."""
    folder = shared / "real"
    for name in ("k600/val/abcdefghijk_000004_000014.mp4", "video3094.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(SECRET)
    return folder


def exported(tool, built, tmp_path, split="train", **options):
    done = export_preferences(tool, built, tmp_path / "out", **options)
    return done, VALIDATORS[tool](tmp_path / "out", split)


def answers_of(triplet, real, synthetic, weight):
    """The samples about one video each, by hand: (question, chosen, rejected, content, weight)."""
    for content, own, omega in ((real, triplet.caption, 1.0), (synthetic, triplet.neg_caption, weight)):
        for text in (triplet.caption, triplet.neg_caption):
            if content is not None:
                chosen = "Yes" if text == own else "No"
                yield QUESTION.format(text), chosen, OTHER[chosen], content, content, omega


def by_content(samples):
    """Samples with the bytes of their videos in place of paths."""
    read = []
    for question, chosen, rejected, video, other, beside in samples:
        contents = (Path(path).read_bytes() for path in (video, other))
        read.append((question, chosen, rejected, *contents, beside["weight"]))
    return read


@pytest.mark.parametrize("tool", FORMATS)
def test_every_row_gives_its_samples_and_no_others(tool, built, root, tmp_path):
    done, samples = exported(tool, built, tmp_path, real_root=root)
    # The real video of a pair is asked about once, though two rows have it.
    expected = [*answers_of(VATEX, SECRET, b"s1", 0.5), *answers_of(MSR_VTT, SECRET, b"s2", 0.25)]
    expected += answers_of(MSR_VTT, None, b"s3", 0.75)
    if tool == "ms-swift":  # and two videos about one caption, of every row with both
        for triplet, synthetic, weight in (
            (VATEX, b"s1", 0.5),
            (MSR_VTT, b"s2", 0.25),
            (MSR_VTT, b"s3", 0.75),
        ):
            expected.append((QUESTION.format(triplet.caption), "Yes", "Yes", SECRET, synthetic, weight))
            expected.append((QUESTION.format(triplet.neg_caption), "Yes", "Yes", synthetic, SECRET, weight))
    assert sorted(by_content(samples)) == sorted(expected)
    assert done.samples == {"train": len(expected), "test": 6 if tool == "ms-swift" else 4}
    assert done.left_out == {"the real video was not found": 1, "there is no synthetic video": 1}
    ids = [beside["id"] for *_, beside in samples]
    assert len(set(ids)) == len(ids)
    assert {beside["misalignment"] for *_, beside in samples} == {"action"}


@pytest.mark.parametrize("tool", FORMATS)
@pytest.mark.parametrize("include", ["real", "synthetic", None])
def test_the_videos_to_ask_about_can_be_chosen(tool, include, built, root, tmp_path):
    options = {"real_root": root} if include == "real" else {}
    done, samples = exported(tool, built, tmp_path, include=include, **options)
    contents = {content for _, _, _, content, _, _ in by_content(samples)}
    assert contents == ({SECRET} if include == "real" else {b"s1", b"s2", b"s3"})
    assert done.real == (sum(done.samples.values()) if include == "real" else 0)
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["include"] == (include or "synthetic")
    assert record["names_real_videos"] is (include == "real")


def test_weights_below_the_least_and_zero_are_left_out(shared, tmp_path):
    rows = [row(VATEX, synthetic=b"a") | {"weight": 0.0}, row(MSR_VTT, synthetic=b"b")]
    rows += [row(HUMAN, synthetic=b"c") | {"weight": None}]
    built = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}})
    for least, expected in ((None, {b"b", b"c"}), (0.2, {b"b"}), (0.25, {b"b"})):
        done, samples = exported("ms-swift", built, tmp_path / f"{least}", min_weight=least)
        assert {content for _, _, _, content, _, _ in by_content(samples)} == expected
        assert sum(done.left_out.values()) == 3 - len(expected)
    with pytest.raises(
        SynvitaError, match=r"no row gives a sample.*weight is 0, or below --min-weight \(3 rows\)"
    ):
        export_preferences("ms-swift", built, tmp_path / "none", min_weight=0.5)
    assert not (tmp_path / "none").exists()


def test_a_part_of_a_longer_file_is_for_trl_only(tmp_path):
    """VATEX's row is about seconds 4 to 14 of the whole source video."""
    root = tmp_path / "real"
    root.mkdir()
    (root / "abcdefghijk.mp4").write_bytes(SECRET)
    built = write_dataset(tmp_path / "built", {"cogvideox": {"train": [row(VATEX, synthetic=b"s")]}})
    for tool in ("ms-swift", "llama-factory"):
        done, samples = exported(tool, built, tmp_path / tool, real_root=root)
        assert len(samples) == 2
        assert list(done.left_out) == [
            "the real video is a part of a longer file, which the format cannot say"
        ]
    _, samples = exported("trl", built, tmp_path / "trl", real_root=root)
    assert len(samples) == 4
    (line, *_) = (tmp_path / "trl" / "out" / "train.jsonl").read_text().splitlines()
    assert {(image["start"], image["end"]) for image in json.loads(line)["images"]} == {(4.0, 14.0)}


@pytest.mark.parametrize("tool", FORMATS)
def test_captions_that_hold_a_placeholder_are_left_out(tool, tmp_path):
    """<video> in a caption would be a second video for the program, and a text of none."""
    from dataclasses import replace

    rows = [
        row(replace(MSR_VTT, caption=text), synthetic=text.encode()) for text in ("a <video> b", "a < b > c")
    ]
    rows += [row(replace(MSR_VTT, neg_caption=text), synthetic=b"x") for text in ("<image>", "<|video_pad|>")]
    built = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}})
    done, samples = exported(tool, built, tmp_path)
    assert done.left_out == {"a caption holds a placeholder such as <video>": 3}
    assert {question for question, *_ in samples} == {
        QUESTION.format("a < b > c"),
        QUESTION.format(MSR_VTT.neg_caption),
    }


@pytest.mark.parametrize("tool", FORMATS)
def test_real_videos_are_never_copied(tool, shared, root, tmp_path):
    """Nor those that a dataset holds (`synvita build --embed-real`), nor the paths of any without --real-root."""
    rows = [row(VATEX, synthetic=b"s", real={"bytes": SECRET, "path": "x.mp4"}), row(MSR_VTT, synthetic=b"t")]
    built = write_dataset(tmp_path / "built", {"cogvideox": {"train": rows}})
    done = export_preferences(tool, built, tmp_path / "with", real_root=root)
    assert done.left_out == {"the real video is held in the table, and real videos are never copied": 1}
    export_preferences(tool, built, tmp_path / "without")
    for folder in ("with", "without"):
        for path in (tmp_path / folder).rglob("*"):
            assert path.is_dir() or SECRET not in path.read_bytes()
            assert not path.is_symlink()
            if folder == "without" and path.is_file():
                assert str(root).encode() not in path.read_bytes()


@pytest.mark.parametrize("tool", FORMATS)
def test_all_splits_of_the_small_dataset_or_those_named(tool, tmp_path):
    built = write_small_dataset(tmp_path / "built")
    done, samples = exported(tool, built, tmp_path)
    assert done.samples == {"train": 10, "test": 4}
    assert done.videos == 7
    assert {beside["misalignment"] for *_, beside in samples} == {"object"} <= set(MISALIGNMENTS)
    done = export_preferences(tool, built, tmp_path / "test", splits=["test"], config="lavie")
    assert done.samples == {"test": 4}
    assert not list((tmp_path / "test").glob("train*"))


@pytest.mark.parametrize("prompt", ["video-llava-unquoted", "mplug-owl"])
def test_the_question_of_a_prompt_comes_without_its_chat_template(prompt, built, tmp_path):
    _, samples = exported("llama-factory", built, tmp_path, prompt=prompt)
    quote = "" if prompt.endswith("unquoted") else '"'
    expected = f"Does this video entail the description: {quote}{MSR_VTT.caption}{quote}?"
    assert expected in {question for question, *_ in samples}
    assert all(re.fullmatch(r"Does this video entail the description: .*\?", each[0]) for each in samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tool": "axolotl"}, "unknown program to export to.*ms-swift, llama-factory, trl"),
        ({"include": "real"}, "--include real without --real-root"),
        ({"include": "both"}, "--include both without --real-root"),
        ({"include": "all"}, "unknown kind of videos"),
        ({"prompt": "nobody"}, "unknown prompt"),
        ({"splits": ["dev"]}, "unknown split.*train, test"),
        ({"min_weight": 2.0}, "between 0 and 1"),
        ({"frames": 0}, "at least one frame"),
    ],
)
def test_bad_options_leave_nothing_behind(options, message, built, tmp_path):
    with pytest.raises(SynvitaError, match=f"(?s){message}"):
        export_preferences(options.pop("tool", "trl"), built, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(built, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(SynvitaError, match="there is something already"):
        export_preferences("trl", built, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_rows_without_any_video_are_an_error(tmp_path, root):
    built = write_dataset(tmp_path / "built", {"cogvideox": {"train": [row(HUMAN)]}})
    with pytest.raises(SynvitaError, match=r"no row gives a sample.*no synthetic video \(1 rows\)"):
        export_preferences("ms-swift", built, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_made_and_that_it_is_local(built, root, tmp_path):
    command = [
        "export",
        str(built),
        "--to",
        "ms-swift",
        "--out",
        str(tmp_path / "out"),
        "--real-root",
        str(root),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "samples for ms-swift: train 16, test 6" in said
    assert "Left out in 1 row: there is no synthetic video." in said
    assert "do not publish it" in said
    assert "swift rlhf --rlhf_type dpo" in said
    assert len(VALIDATORS["ms-swift"](tmp_path / "out", "train")) == 16
    assert CliRunner().invoke(app, [*command[:2], "--to", "axolotl", "--out", "x"]).exit_code == 2


@pytest.fixture(scope="module")
def trl_export(shared):
    """An export with real mp4 files: a synthetic video of 6 frames, a real one of which a second is asked about."""
    root = shared / "mp4"
    root.mkdir()
    grey = np.arange(0, 240, 10, dtype=np.uint8)[:, None, None, None]  # 24 frames, each of its own grey
    encode_mp4(np.broadcast_to(grey, (24, 32, 48, 3)).copy(), 1, root / "abcdefghijk.mp4", crf=0)
    encode_mp4(np.broadcast_to(grey[:6], (6, 32, 48, 3)).copy(), 8, shared / "small.mp4", crf=0)
    rows = [row(VATEX, synthetic=(shared / "small.mp4").read_bytes())]
    built = write_dataset(shared / "built-of-mp4", {"cogvideox": {"train": rows}})
    export_preferences("trl", built, shared / "trl", real_root=root, frames=3)
    return shared / "trl"


def test_trl_reads_frames_of_the_asked_seconds(trl_export, tmp_path):
    from synvita_data.dataset.preference_frames import load_preferences

    loaded = load_preferences(trl_export)
    assert len(loaded) == 4
    assert set(loaded.column_names) >= {"prompt", "chosen", "rejected", "images"}
    greys = {}
    for sample in loaded:
        assert [picture.size for picture in sample["images"]] == [(48, 32)] * 3
        greys[sample["id"].split(":", 1)[1]] = [np.asarray(p).mean() for p in sample["images"]]
    # Midpoints of three thirds: of seconds 4 to 14 at 1 frame a second, and of all 6 frames.
    assert greys["real:caption"] == pytest.approx([50, 90, 120], abs=12)
    assert greys["synthetic:caption"] == pytest.approx([10, 30, 50], abs=6)
    # A trainer drops the columns that it does not know, before it reads rows.
    kept = loaded.remove_columns(["id", "kind", "misalignment", "weight"])
    assert kept[0].keys() == {"prompt", "chosen", "rejected", "images"}
    assert kept[0]["images"][0].size == (48, 32)
    assert load_preferences(trl_export, size=16)[0]["images"][0].size == (24, 16)


def test_what_is_no_export_for_trl_is_refused(trl_export, built, tmp_path):
    from synvita_data.dataset.preference_frames import load_preferences

    with pytest.raises(SynvitaError, match=r"no such split.*train"):
        load_preferences(trl_export, "test")
    with pytest.raises(SynvitaError, match="record of an export"):
        load_preferences(tmp_path)
    export_preferences("ms-swift", built, tmp_path / "swift")
    with pytest.raises(SynvitaError, match=r"of another program.*ms-swift"):
        load_preferences(tmp_path / "swift")


def test_the_command_line_loads_nothing_heavy_for_its_help():
    code = "import sys\nimport synvita_data.cli\nassert not {'datasets', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
