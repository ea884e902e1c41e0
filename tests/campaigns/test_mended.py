"""What the campaigns found and was mended, each as small as it became."""

import json
import shutil
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import run_program
from small_dataset import read_report, write_small_dataset

from synvita_data.builders.contrast.writing.job import read_answers
from synvita_data.builders.sources import places
from synvita_data.errors import SchemaError
from synvita_data.jobs import Record, Store
from synvita_data.real_videos.files import walk_videos
from synvita_data.schema import check_schema_version
from synvita_data.tables.columns import coded, number_column
from synvita_data.tasks import read_declaration


def test_a_link_to_itself_is_no_video(tmp_path):
    bad = []
    (tmp_path / "video0.mp4").write_bytes(b"x")
    (tmp_path / "again.mp4").symlink_to("again.mp4")
    assert list(walk_videos(tmp_path, bad.append)) == ["video0.mp4"]
    assert [error.problem for error in bad] == ["a link leads nowhere"]
    found = []
    assert [path.name for path in places._files(tmp_path, tmp_path, found)] == ["video0.mp4"]
    assert [error.problem for error in found] == ["a link leads nowhere"]


@pytest.mark.parametrize(
    "answers",
    [
        *(None, "x", ["x"], [], [{"contrasts": []}], [{"contrasts": [[]], "failed": []}]),
        [{"contrasts": [], "failed": []}],
        [{"contrasts": [], "failed": [], "refused": ["no"]}],
        [{"contrasts": [["a dog", 5]], "failed": []}],
        [{"contrasts": [], "failed": [["a dog", None]]}],
    ],
)
def test_results_of_writing_of_another_form(answers):
    with pytest.raises(
        SchemaError, match=r"x\.json: a finished result is damaged.*Remove this file and run again"
    ):
        read_answers(Record("key", {"answers": answers}, {}, "x.json"), 1)


@pytest.mark.parametrize("text", [f"margin: {'1' * 309}", f"margin: 0x{'f' * 5000}", "margin: !!bool x"])
def test_a_recipe_with_a_number_that_no_float_holds(text, tmp_path):
    from synvita_data.training.recipe import RecipeError, read_recipe

    path = tmp_path / "r.yaml"
    path.write_text(f"model: a/b\ndata: c/d\n{text}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml: not YAML"):
        read_recipe(path, training_types={"margin": float})


def test_numbers_of_python_that_no_float_holds():
    from synvita_data.errors import SynvitaError
    from synvita_data.training.data.only import check_only

    for asked in ({"weight": {"min": 10**400}}, f'{{"weight": {{"max": {"1" * 400}}}}}', "[" * 100_000):
        with pytest.raises(SynvitaError, match="only"):
            check_only(asked)


def test_a_declaration_with_values_that_yaml_itself_stumbles_over(tmp_path):
    path = tmp_path / "task.yaml"
    for value in ("!!bool x", "!!int ''", "1" * 400):
        path.write_text(f"name: x\nform: {value}\n")
        with pytest.raises(SchemaError, match="line 2: a value cannot be read"):
            read_declaration(path)


def test_a_schema_version_that_is_no_text():
    with pytest.raises(SchemaError, match="another schema version"):
        check_schema_version({b"schema_version": b"\xb6"}, file="x.parquet")


@pytest.mark.parametrize("cells", [[["a"]], [{"bytes": "x"}], [b"\xff\xfe"]])
def test_columns_that_are_not_text(cells, tmp_path):
    with pytest.raises(SchemaError, match="the cells of name are not text"):
        coded(pa.table({"name": cells}), "name", tmp_path / "x.parquet")


def test_whole_numbers_that_no_float_holds(tmp_path):
    assert number_column(pa.table({"n": [2**53 + 1]}), "n", tmp_path / "x.parquet").tolist() == [float(2**53)]


@pytest.mark.parametrize("depth", [40, 1_200, 20_000])
@pytest.mark.parametrize("text", ["name: {0}1{1}", "{0}1{1}"])
def test_a_declaration_nested_deeply(depth, text, tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(text.format("[" * depth, "]" * depth))
    with pytest.raises(SchemaError, match="nested too deeply"):
        read_declaration(path)


def test_an_answer_of_many_braces_takes_no_time():
    from synvita_data.builders.contrast.answers import read_answer
    from synvita_data.errors import SynvitaError

    calls = 0

    def count(frame, event, given):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        with pytest.raises(SynvitaError):
            read_answer('{"a":' * 60_000, "a dog runs", "object")
    finally:
        sys.setprofile(None)
    assert calls < 10_000  # it was tried again at every brace


def test_a_damaged_record_of_features_is_no_record(tmp_path):
    import torch

    from synvita_data.models.families.family import PreparedVideo
    from synvita_data.models.features import FeatureCache, KnownVideo
    from synvita_data.models.strategies import EncodedVideo

    cache = FeatureCache(tmp_path, {"frames": {"count": 4}}, ("x",))
    try:
        key = "a" * 40
        known = KnownVideo(
            EncodedVideo(PreparedVideo({"x": torch.ones(1)}, "<v>", (1,)), {"f": torch.ones(1)}), {}
        )
        assert cache.put(key, known)
        assert cache.get(key) is not None
        (record,) = tmp_path.glob("??/*.json")
        content = json.loads(record.read_text())
        record.write_text(json.dumps(content | {"fields": content["fields"] | {"runs": 4}}))
        assert cache.get(key) is None
    finally:
        cache.close()


def test_targets_of_an_adapter_that_are_no_names(tmp_path):
    from synvita_data.models.released.lora_settings import read_lora_settings

    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q", ["v"]]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    found = read_lora_settings(tmp_path)
    assert found is not None
    assert found.targets == {"q", "['v']"}


@pytest.mark.parametrize("settings", ["x", [1], {"steps": 4}])
def test_a_mark_with_settings_of_other_types(tmp_path, settings):
    from synvita_data.builders.generators.base import Recipe
    from synvita_data.builders.generators.folder import BOUND_TO, STORE, bind
    from synvita_data.errors import SourceError

    recipe = Recipe("command", "x", "1", {"steps": 5}, {})
    bind(tmp_path, recipe)
    with Store(tmp_path / STORE) as store, store.claim("a" * 40) as claim:
        claim.commit({})
    mark = tmp_path / BOUND_TO
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"settings": settings}))
    with pytest.raises(SourceError, match=r"Found: steps (None|4), now 5"):
        bind(tmp_path, recipe)


def test_settings_of_a_training_of_other_types():
    from synvita_data.models.resolve import trained_settings

    for value in ([], {}, True, 1.5):
        noted = dict.fromkeys(("prompt", "frames", "placeholder_space", "preprocess"), value)
        assert set(trained_settings(noted).values()) == {None}


@pytest.mark.parametrize("form", ["loop", "dangling", "folder"])
def test_weights_that_are_no_file(tmp_path, form):
    from synvita_data.errors import SynvitaError
    from synvita_data.models.download import check_whole
    from synvita_data.models.released.weights import read_shapes, read_tensors

    for name in ("x.safetensors", "x.bin"):
        path = tmp_path / name
        if form == "folder":
            path.mkdir()
        else:
            path.symlink_to(name if form == "loop" else "nothing")
        for read in (read_tensors, read_shapes, check_whole):
            with pytest.raises(SynvitaError, match=name):
                read(path)


@pytest.mark.parametrize("value", ["x", [], True])
def test_numbers_of_an_adapter_of_other_types(tmp_path, value):
    from synvita_data.errors import SynvitaError
    from synvita_data.models.released.lora_settings import read_lora_settings

    right = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1}
    for name in ("r", "lora_alpha", "lora_dropout"):
        (tmp_path / "adapter_config.json").write_text(json.dumps(right | {name: value}))
        with pytest.raises(SynvitaError, match="rank, alpha or dropout"):
            read_lora_settings(tmp_path)


def test_measures_of_words_of_which_one_is_missing():
    from synvita_data.captions.text_only import TextOnly, TextOnlyShare

    whole = TextOnly(TextOnlyShare(2, 2, 70.0, 71.0), {"flip": TextOnlyShare(1, 1, 60.0, 61.0)}).to_record()
    assert TextOnly.from_record(whole) is not None
    whole["misalignments"]["flip"]["pairs_right"] = None
    assert TextOnly.from_record(whole) is None


@pytest.mark.parametrize(
    "pair", [[[-1.0], [-1.0]], [[-1.0, 300.0], [-1.0, -2.0]], [["x", "y"], [-1.0, -2.0]], [[-1.0, -2.0]]]
)
def test_results_of_scoring_of_another_form(pair):
    from synvita_data.builders.vqascore.run import _looks

    with pytest.raises(SchemaError, match=r"x\.json: a finished result is damaged"):
        _looks(Record("key", {"log_probs": [pair]}, {}, "x.json"), whole=True)
    record = Record("key", {"log_probs": [[[-1.0, 1e-8], [-2.0, -0.5]]]}, {})
    assert _looks(record, whole=True) == [(None, [-1.0, 1e-8], [-2.0, -0.5])]


def test_a_recipe_extends_a_name_that_no_file_has(tmp_path):
    from synvita_data.errors import SynvitaError
    from synvita_data.training.recipe import recipe_values

    path = tmp_path / "r.yaml"
    path.write_text(f"extends: {'x' * 300}\n")
    with pytest.raises(SynvitaError, match=r"r\.yaml"):
        recipe_values(path)


@pytest.mark.parametrize("loop", [True, False])
def test_a_file_of_a_result_that_leads_nowhere_is_missing(tmp_path, loop):
    store = Store(tmp_path)
    try:
        claim = store.claim("a" * 40)
        with claim:
            claim.path("x.txt").write_text("x")
            claim.commit({})
        path = store.record("a" * 40).path("x.txt")
        path.unlink()
        path.symlink_to(path.name if loop else "nothing")
        assert store.scan(["a" * 40]).pending == ["a" * 40]
        assert store.record("a" * 40) is None
    finally:
        store.close()


@pytest.mark.parametrize("suffix", ["files.json", "failed.json"])
@pytest.mark.parametrize("form", ["loop", "folder", "dangling", "list", "other"])
def test_what_is_no_record_is_done_again(tmp_path, suffix, form):
    store, key = Store(tmp_path), "a" * 40
    try:
        with store.claim(key) as claim:
            claim.path("x.txt").write_text("x")
            claim.commit({})
        record = tmp_path / store.record(key).file
        path = record.with_name(f"{record.name[:40]}.{suffix}")
        content = json.loads(record.read_text())
        record.unlink()
        if form in ("loop", "dangling"):
            path.symlink_to(path.name if form == "loop" else "nothing")
        elif form == "folder":
            path.mkdir()
        else:
            wrong = [] if form == "list" else content | {"fields": [["a", 1]], "key": ["a"], "error": []}
            path.write_text(json.dumps(wrong))
        for check in ("names", "sizes"):  # which look into no record that is there
            assert store.scan([key], check).states[key] in ("pending", "done", "quarantined")
        state = "pending" if suffix == "files.json" else "quarantined"
        assert store.scan([key], "contents").states == {key: state}
        assert store.record(key) is None
        assert [each.error["problem"] for each in store.quarantined()] == (
            [] if suffix == "files.json" or form == "dangling" else ["the quarantine file is damaged"]
        )
    finally:
        store.close()


def test_a_quarantined_error_of_other_types():
    error = SchemaError.from_record(
        {"problem": [1], "fix": 5, "file": ["x"], "row": {}, "found": 2, "expected": None}
    )
    assert str(error) == "['x'], row {}: [1]. Found: 2. 5."


@pytest.mark.parametrize(
    ("report", "problem"),
    [({"scores": {"with_video": "x"}}, "build report"), ({"prompts": [1]}, "build report")],
)
def test_a_build_report_of_other_types(tmp_path, report, problem, capsys):
    folder = write_small_dataset(tmp_path / "set")
    content = read_report(folder)
    for config in content["configs"].values():
        config |= report
    (folder / "build.json").write_text(json.dumps(content))
    assert run_program("inspect", folder) == 2
    assert problem in " ".join(capsys.readouterr().err.split())


def test_rows_of_other_types(tmp_path, capsys):
    folder = write_small_dataset(tmp_path / "set")
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        place = table.column_names.index("vqascores")
        pq.write_table(table.set_column(place, "vqascores", [[[1.0]] * len(table)]), path)
    assert run_program("inspect", folder) == 2
    assert "not as synvita build writes them" in " ".join(capsys.readouterr().err.split()).replace("`", "")


def test_a_card_nested_deeply():
    from synvita_data.hub.card import read_card

    with pytest.raises(SchemaError, match="no YAML at its head"):
        read_card(f"---\nconfigs: {'[' * 1_500}{']' * 1_500}\n---\ntext\n", file="README.md")


def _card_with(folder, change):
    import yaml

    card = folder / "README.md"
    _, head, text = card.read_text().split("---\n", 2)
    content = yaml.safe_load(head)
    change(content)
    card.write_text(f"---\n{yaml.safe_dump(content)}---\n{text}")


@pytest.mark.parametrize("built", [True, False])
def test_json_lines_without_a_row(built, tmp_path):
    from synvita_data.dataset.load import load_triplets

    (tmp_path / "quarantine.jsonl").write_text("")
    if built:  # and its card was lost
        (tmp_path / "build.json").write_text("{}")
    with pytest.raises(SchemaError, match=r"Expected: a README" if built else "no rows|no data"):
        load_triplets(str(tmp_path), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("names", [["a"], 5, None])
def test_a_card_whose_config_has_no_name(names, tmp_path):
    from synvita_data.dataset.load import load_triplets

    folder = write_small_dataset(tmp_path / "set")
    _card_with(folder, lambda card: card["configs"][0].update(config_name=names))
    with pytest.raises(SchemaError, match="list of configs cannot be read"):
        load_triplets(str(folder), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    "info",
    [
        [5],
        [{"config_name": ["a"]}],
        {"features": [{}]},
        {"features": [{"name": "x", "list": {"struct": 5}}]},
        {"features": [{"name": "x", "video": 5}]},
        {"splits": 5},
    ],
)
def test_a_card_of_which_datasets_makes_no_sense(info, tmp_path):
    from synvita_data.dataset.load import load_triplets

    folder = write_small_dataset(tmp_path / "set")
    _card_with(folder, lambda card: card.update(dataset_info=info))
    with pytest.raises(SchemaError, match=r"set: the dataset cannot be loaded.*Build the dataset again"):
        load_triplets(str(folder), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("target", ["nothing", "l" * 255, None])
def test_links_to_nowhere_among_the_files_of_a_dataset(target, tmp_path):
    from synvita_data.dataset.load import load_triplets

    folder = write_small_dataset(tmp_path / "set")
    for path in folder.glob("lavie/train-*.parquet"):
        path.unlink()
        path.symlink_to(target or path.name)
    assert load_triplets(str(folder), "cogvideox", split="test", cache_dir=tmp_path / "cache")
    with pytest.raises(SchemaError, match="set"):
        load_triplets(str(folder), "lavie", split="train", cache_dir=tmp_path / "cache")


def test_questions_that_are_a_folder(tmp_path):
    from synvita_data.study.questions import read_questions

    with pytest.raises(SchemaError, match="cannot be read"):
        read_questions(tmp_path)


_NOTED = {"path": "a_001.mp4", "id": "a", "caption": "a", "sample": 1, "config": {}}


@pytest.mark.parametrize(
    "noted",
    [
        *([], _NOTED | {"config": []}, _NOTED | {"path": 1e9}, _NOTED | {"sample": None}),
        *(_NOTED | {"path": "../a_001.mp4", "id": "../a"}, _NOTED | {"caption": "\ud800"}),
    ],
)
def test_a_damaged_note_of_generated_videos(tmp_path, noted):
    from synvita_data.builders.generators.folder import publish

    store = Store(tmp_path / "out" / ".work" / "generate")
    try:
        with store.claim("a" * 40) as claim:
            claim.path("x.mp4").write_bytes(b"x")
            claim.commit({"videos": {"x.mp4": noted}})
        with pytest.raises(SchemaError, match=r"files\.json: a finished result is damaged.*run again"):
            publish(tmp_path / "out", store)
        assert not list(tmp_path.glob("*.mp4"))
    finally:
        store.close()


def test_a_writer_that_is_killed_before_its_file_is_locked_leaves_nothing(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from synvita_data.files import write_atomic

last = int(sys.argv[1])
def kill(event, given, seen=[0]):
    if event in ("open", "os.rename", "os.remove") and ".part-" in str(given[0]):
        seen[0] += 1
        if seen[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
import fcntl
flock = fcntl.flock
def killed(*given):
    if last == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return flock(*given)
fcntl.flock = killed
write_atomic(Path(sys.argv[2]), "new")
"""
    for last in range(4):
        path = tmp_path / str(last) / "x.json"
        done = subprocess.run([sys.executable, "-c", code, str(last), str(path)])
        assert done.returncode == -signal.SIGKILL
        code_again = f"from pathlib import Path; from synvita_data.files import write_atomic; write_atomic(Path({str(path)!r}), 'new')"
        subprocess.run([sys.executable, "-c", code_again], check=True)
        assert [each.name for each in path.parent.iterdir()] == ["x.json"]


def test_a_dataset_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    import datasets

    from synvita_data.dataset.load import load_triplets

    folder = write_small_dataset(tmp_path / "set")
    load_dataset, calls = datasets.load_dataset, []

    def replaced(*given, **named):
        calls.append(given)
        if len(calls) == 1:  # the card was read, and now there are other rows
            shutil.rmtree(folder)
            write_small_dataset(folder, shards={"train": (1,), "test": (2,)})
            raise datasets.exceptions.DatasetGenerationError("expected 5, recorded 1")
        return load_dataset(*given, **named)

    monkeypatch.setattr(datasets, "load_dataset", replaced)
    loaded = load_triplets(folder, "lavie", cache_dir=tmp_path / "cache")
    assert {split: len(part) for split, part in loaded.items()} == {"train": 1, "test": 2}
    assert len(calls) == 2


@pytest.mark.parametrize("sha256", ["\ud800" * 64, "\0" * 64])
def test_a_digest_that_no_name_of_a_file_can_hold(sha256, tmp_path):
    store = Store(tmp_path)
    claim = store.claim("a")
    claim.path("x.bin").write_bytes(b"x")
    claim.commit({})
    (record,) = tmp_path.glob("??/*.files.json")
    document = json.loads(record.read_text())
    document["artefacts"]["x.bin"]["sha256"] = sha256
    record.write_text(json.dumps(document))
    assert Store(tmp_path).record("a") is None


def test_settings_of_a_generator_that_are_no_texts(tmp_path):
    from synvita_data.builders.publish.folder import parse_report

    report = read_report(write_small_dataset(tmp_path / "set"))
    record = report["configs"]["lavie"]
    for generators in (5, {"lavie": 5}, {"lavie": {"configs": [5]}}, {"lavie": {"configs": 5}}):
        record["generators"] = generators
        with pytest.raises(SchemaError, match="Build the dataset again"):
            parse_report(json.dumps(report), file="build.json")
