"""expected.yaml: what stands in it is sound, and a copy with a slip is refused by name."""

import copy
import re

import pytest
import yaml

from synvita_data.errors import SynvitaError
from synvita_data.reproduce.expected import EXPECTED, read_expected
from synvita_data.tasks import COLUMNS, MODELS, TASKS

WHOLE = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))


def changed(tmp_path, change):
    content = copy.deepcopy(WHOLE)
    change(content)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_package_file_covers_the_table_from_the_videollms_down():
    expected = read_expected()
    assert tuple(expected.tolerances) == COLUMNS
    assert [row.paper for row in expected.rows.values()] == list(MODELS[MODELS.index("mPLUG-Owl 7B") :])
    for name, row in expected.rows.items():
        for task in COLUMNS:
            assert row.published(task) is not None, (name, task)
    # The numbers of the specification, which were copied from the paper by hand and by another.
    assert [expected.rows["synvita-video-llava"].published(task).value for task in COLUMNS] == [
        85.43, 80.86, 76.86, 20.10, 11.21, 39.88,
    ]  # fmt: skip


def test_tolerances_are_those_of_the_specification_and_give_reasons():
    expected = read_expected()
    assert [expected.tolerances[task].points for task in COLUMNS] == [0.1, 0.5, 0.5, 1.0, 0.4, 0.5]
    assert (expected.jitter.sigma, expected.jitter.draws, expected.jitter.level) == (0.06, 200, 0.99)
    assert expected.flips.seeds == 100
    for part in (*expected.tolerances.values(), expected.jitter, expected.flips):
        assert len(part.why.split()) > 10
    assert expected.fixed == "2026-11-26"


def test_the_arithmetic_in_the_reasons():
    why = {task: tolerance.why for task, tolerance in read_expected().tolerances.items()}
    assert f"{100 / 13_500:.3f} points" in why["videocon-llm"]
    for task, pairs in (("videocon-human", 570), ("videocon-human-hard", 290)):
        assert TASKS[task].expected["groups"].count == pairs
        assert f"by {100 / pairs:.2f} points" in " ".join(why[task].split())
    assert f"= {100 * (1 - 1 / 2) / 12 / 18:.2f} points" in why["ssv2-temporal"].replace("\n", " ")
    assert f"up to {100 * (1 - 1 / 2) / 12 / 49:.2f} points" in why["ssv2-events"]
    assert f"of {100 / 1844:.3f} points" in why["atp-hard"]
    assert f"{0.125 / 12**0.5:.3f} a logit" in read_expected().jitter.why
    both = 0.125 * (2 / 12) ** 0.5
    assert f"and {both:.3f} for the difference" in read_expected().jitter.why
    assert (both**2 + 0.03**2) ** 0.5 == pytest.approx(read_expected().jitter.sigma, abs=0.001)


def test_memory_is_what_the_benchmarks_page_says(repo_root):
    page = (repo_root / "docs" / "benchmarks.md").read_text()
    for name, checkpoint in read_expected().checkpoints.items():
        if checkpoint.gib is not None:
            model = {"mplug-owl-base": "mPLUG-Owl", "video-llava-base": "Video-LLaVA"}[name]
            measured = re.findall(rf"^\| {model}, \d+ \|.*\| ([\d.]+) GiB \|$", page, re.MULTILINE)
            assert checkpoint.gib == max(map(float, measured))


def test_chains_begin_with_the_base_and_memory_is_the_bases():
    expected = read_expected()
    assert expected.chain("synvita-video-llava") == ("video-llava-base", "synvita-video-llava-lora")
    assert expected.chain("mplug-owl") == ("mplug-owl-base",)
    assert expected.chain("videocon-video-llava") == ()
    assert expected.gib("synvita-mplug-owl") == expected.gib("mplug-owl") == 13.6


def test_choices_stand_in_the_order_of_the_table():
    expected = read_expected()
    assert expected.choose_rows(["synvita-video-llava", "mplug-owl"]) == ("mplug-owl", "synvita-video-llava")
    assert expected.choose_tasks(["atp-hard", "videocon-llm"]) == ("videocon-llm", "atp-hard")
    with pytest.raises(SynvitaError, match=r"unknown row.*'synvita'.*synvita-mplug-owl"):
        expected.choose_rows(["synvita"])


def test_a_row_of_ones_own_brings_its_values(tmp_path):
    def change(content):
        content["rows"]["mine"] = {
            "paper": "Mine",
            "checkpoint": "video-llava-base",
            "values": {"atp-hard": 40.5},
        }

    row = read_expected(changed(tmp_path, change)).rows["mine"]
    assert (row.published("atp-hard").value, row.published("atp-hard").digits) == (40.5, 1)
    assert row.published("ssv2-events") is None


SLIPS = {
    "unknown key.*chekpoint": lambda c: c["rows"]["mplug-owl"].update(chekpoint="x"),
    "unknown key.*tolerence": lambda c: c.update(tolerence={}),
    "lacks a key.*jitter": lambda c: c.pop("jitter"),
    "lacks a key.*sigma": lambda c: c["jitter"].pop("sigma"),
    "points is of another type.*'0.1'": lambda c: c["tolerances"]["atp-hard"].update(points="0.1"),
    "points is not usable.*above 0": lambda c: c["tolerances"]["atp-hard"].update(points=0),
    "level is not usable": lambda c: c["jitter"].update(level=1.0),
    "draws is of another type": lambda c: c["jitter"].update(draws=True),
    "unknown task in tolerances.*atp": lambda c: c["tolerances"].update(atp={"points": 1, "why": "x"}),
    "unknown base of checkpoint owl-con.*'nothing'": lambda c: c["checkpoints"]["owl-con"].update(
        base="nothing"
    ),
    "owl-con: base is not usable.*a whole model": lambda c: c["checkpoints"]["owl-con"].update(
        base="synvita-mplug-owl-lora"
    ),
    "base is not usable.*a whole model": lambda c: c["checkpoints"]["video-llava-base"].update(
        base="owl-con"
    ),
    "unknown conversion of checkpoint owl-con": lambda c: c["checkpoints"]["owl-con"].update(convert="owl"),
    "files is not usable": lambda c: c["checkpoints"]["owl-con"].update(files=[]),
    "files is of another type": lambda c: c["checkpoints"]["owl-con"].update(files="*"),
    "either checkpoint or not_public": lambda c: c["rows"]["mplug-owl"].pop("checkpoint"),
    "unknown checkpoint of row mplug-owl": lambda c: c["rows"]["mplug-owl"].update(checkpoint="owl"),
    "unknown prompt of row mplug-owl": lambda c: c["rows"]["mplug-owl"].update(prompt="owl"),
    "unknown model of the paper in row mplug-owl": lambda c: c["rows"]["mplug-owl"].update(paper="Owl"),
    "unknown row in pairs.*'owl'": lambda c: c["pairs"].append(["owl", "mplug-owl"]),
    "pairs is not usable": lambda c: c["pairs"].append(["mplug-owl"]),
    "inputs is not usable": lambda c: c["inputs"].pop("atp-hard"),
    "another format.*2": lambda c: c.update(format=2),
}


@pytest.mark.parametrize("message", SLIPS)
def test_a_slip_is_named(tmp_path, message):
    path = changed(tmp_path, SLIPS[message])
    with pytest.raises(SynvitaError, match=message) as caught:
        read_expected(path)
    assert caught.value.file == str(path)


@pytest.mark.parametrize("text", ["- a list\n", "a: [\n", "!!python/object/apply:os.system [ls]\n", ""])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SynvitaError, match=re.escape(str(path))):
        read_expected(path)


def test_commits_are_the_recorded_ones():
    from synvita_data.hub.known import known

    for checkpoint in read_expected().checkpoints.values():
        recorded = known(checkpoint.repository)
        assert recorded is not None
        assert recorded.name == checkpoint.repository  # not a former name
        assert recorded.commit == checkpoint.revision


# As recorded of the Hub at the pinned commits, bytes rounded as shown there.
RECORDED = {
    "video-llava-base": {
        ".gitattributes": 1_520, "README.md": 10_600, "config.json": 1_100, "generation_config.json": 162,
        "model-00001-of-00002.safetensors": 9_980_000_000, "model-00002-of-00002.safetensors": 4_960_000_000,
        "model.safetensors.index.json": 150_000, "pytorch_model-00001-of-00002.bin": 9_980_000_000,
        "pytorch_model-00002-of-00002.bin": 4_960_000_000, "pytorch_model.bin.index.json": 144_000,
        "special_tokens_map.json": 438, "tokenizer.model": 500_000, "tokenizer_config.json": 749,
    },
    "mplug-owl-base": {
        ".gitattributes": 1_520, "config.json": 9_160, "generation_config.json": 202, "preprocessor_config.json": 163,
        "pytorch_model.bin": 14_300_000_000, "tokenizer.model": 500_000, "tokenizer_config.json": 176,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_patterns_fetch_what_is_converted_and_no_weights_twice(name):
    from fnmatch import fnmatch

    from synvita_data.hub.known import known

    source = read_expected().checkpoints[name]
    files = RECORDED[name]
    fetched = {path for path in files if any(fnmatch(path, pattern) for pattern in source.files)}
    left = {"README.md", ".gitattributes", *(path for path in files if path.startswith("pytorch_model"))}
    assert fetched == set(files) - (left if name == "video-llava-base" else {".gitattributes"})
    assert known(source.repository).download == pytest.approx(sum(files[path] for path in fetched), rel=1e-3)
