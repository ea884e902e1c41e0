"""`hub/known.py` says what was recorded, and nothing more."""

import pytest
from released.recorded import file_list, records

from synvita_data.hub.known import KNOWN, known

RECORDED = [one for one in KNOWN if one.name in records() or set(one.former) & records().keys()]
NOT_RECORDED = [one for one in KNOWN if one not in RECORDED]


def record_of(one) -> dict:
    return next(records()[name] for name in (one.name, *one.former) if name in records())


def test_every_record_has_an_entry():
    assert {known(name) for name in records()} == set(RECORDED)


@pytest.mark.parametrize("one", NOT_RECORDED, ids=lambda one: one.name)
def test_an_entry_without_a_record_says_so(one):
    assert (one.licence, one.gated, one.download, one.weights) == (None, None, None, None)
    assert one.record.startswith(("nothing", "the name only", "the commit, as"))


@pytest.mark.parametrize("one", RECORDED, ids=lambda one: one.name)
def test_an_entry_says_what_was_recorded(one):
    record = record_of(one)
    text = str(record)
    assert one.kind == record["kind"]
    assert one.recorded == record["recorded"]
    if one.commit is not None and not one.commit_source:
        assert one.commit in text
    licence = str(record["facts"].get("licence", ""))
    assert licence.startswith(one.licence or ("none", "not found", "mit at first")) or (
        one.licence,
        licence,
    ) == (None, "")


DOWNLOADS = {
    # Which of the recorded files our commands fetch: those of weights that are taken, and small ones.
    "LanguageBind/Video-LLaVA-7B": lambda file: not file.startswith("pytorch_model"),
    "Salesforce/instructblip-flan-t5-xl": lambda file: not file.startswith("pytorch_model"),
    "zhiqiulin/clip-flant5-xl": lambda file: (
        file not in ("model.safetensors", "training_args.bin", "trainer_state.json")
    ),
}


@pytest.mark.parametrize("one", [one for one in KNOWN if one.download], ids=lambda one: one.name)
def test_bytes_to_fetch_are_those_of_the_file_list(one):
    taken = DOWNLOADS.get(one.name, lambda file: True)
    total = sum(size for file, size in file_list(one.name).items() if taken(file))
    assert one.download == pytest.approx(total, rel=1e-3)


def test_videocon_is_read_file_by_file(tmp_path):
    """`load_dataset` of the whole repository fails, because its files differ in their columns; the tasks name theirs."""
    import csv

    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    from synvita_data.annotations import read_annotations
    from synvita_data.tasks import TASKS

    columns = record_of(known("videocon/videocon"))["facts"]["columns_from_the_viewer_error"]
    shared = {"videopath": "v_1.mp4", "caption": "a man runs", "neg_caption": "a man swims"}
    files = {}
    for file, own in ((name.removeprefix("only in "), own) for name, own in columns.items()):
        values = dict.fromkeys(own, "True") | {"source": "vatex", "split": "test", "misalignment": "action"}
        files[file] = {**{key: value for key, value in values.items() if key in own}, **shared}
        with (tmp_path / file).open("w", newline="") as handle:
            writer = csv.DictWriter(handle, files[file])
            writer.writeheader()
            writer.writerow(files[file])
    with pytest.raises(DatasetGenerationError):
        load_dataset(
            "csv", data_files=[str(tmp_path / file) for file in files], cache_dir=str(tmp_path / "c")
        )
    for task in ("videocon-llm", "videocon-human", "videocon-human-hard"):
        assert set(TASKS[task].hub_files) <= files.keys()
        assert read_annotations(task, tmp_path).counts()["texts"] == 2
        assert TASKS[task].hub_revision == known("videocon/videocon").commit
        assert "shows none" in TASKS[task].licence
