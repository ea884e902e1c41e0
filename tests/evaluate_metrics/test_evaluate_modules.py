"""The `evaluate` modules: by path, from an installed wheel, from a folder that was exported, from a Space on the
loopback Hub; the Spaces' pages.

Importing `evaluate` costs 16 s, so each test is one process that does all it can.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loopback_hub import run_client

from synvita_data.errors import SynvitaError
from synvita_data.evaluate_metrics import METRICS
from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc
from synvita_data.evaluate_metrics.export import export
from synvita_data.evaluate_metrics.group_score.group import group_score
from synvita_data.evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy
from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy
from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map
from synvita_data.metrics import metric, metric_folder

CLIENT = Path(__file__).with_name("evaluate_client.py")


@pytest.fixture
def alone(tmp_path):
    """`PYTHONPATH` of a process that has no access to this package."""
    package = tmp_path / "without" / "synvita_data"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this process stands alone')\n")
    return {"PYTHONPATH": str(package.parent)}


def entailment_case(config):
    generator = np.random.default_rng(1)
    columns = {
        "predictions": generator.random(40).round(1).tolist(),
        "references": [1, 0] * 20,
        "videos": [f"v{i // 4}" for i in range(40)],
    }
    options = {"resamples": 50}
    pure = {"scores": columns["predictions"], "labels": columns["references"], "videos": columns["videos"]}
    if config == "videocon":
        columns["texts"] = [f"text {i}" for i in range(40)]
        columns["pairs"] = [str(i // 2) for i in range(40)]
        columns["misalignment"] = ["flip" if i < 12 else "" for i in range(40)]
        columns["hard"] = [i < 20 for i in range(40)]
        groups = {"misalignment": [v or None for v in columns["misalignment"]], "hard": columns["hard"]}
        pure |= {"texts": columns["texts"], "pairs": columns["pairs"], "groups": groups}
    result = entailment_auc(**pure, **options)
    return columns, options, {"entailment_auc": result["auc"]["value"], **result}


def retrieval_case(config):
    generator = np.random.default_rng(2)
    columns = {
        "predictions": generator.random(40).round(1).tolist(),
        "references": [1, 0, 0, 1] * 10,
        "captions": [f"caption {i // 8}" for i in range(40)],
        "videos": [f"{i % 8}.webm" for i in range(40)],
    }
    options = {"resamples": 50, "ks": [1, 3]}
    result = retrieval_map(*columns.values(), **options)
    return columns, options, {"retrieval_map": result["map"]["value"], **result}


def choice_case(config):
    generator = np.random.default_rng(3)
    columns = {
        "predictions": generator.random(40).round(1).tolist(),
        "references": [0, 1, 0, 0, 0] * 8,
        "questions": [f"q{i // 5}" for i in range(40)],
        "options": [i % 5 for i in range(40)],
    }
    options = {"resamples": 50, "options_per_question": 5}
    types = None
    if config == "types":
        columns["types"] = ["CW" if i < 20 else "" for i in range(40)]
        types = [value or None for value in columns["types"]]
    pure = [columns[name] for name in ("predictions", "references", "questions")]
    result = multiple_choice_accuracy(*pure, options=columns["options"], types=types, **options)
    return columns, options, {"multiple_choice_accuracy": result["accuracy"]["value"], **result}


def group_case(config):
    generator = np.random.default_rng(4)
    columns = {
        "predictions": generator.random(40).round(1).tolist(),
        "video": [0, 0, 1, 1] * 10,
        "caption": [0, 1, 0, 1] * 10,
        "groups": [f"group {i // 4}" for i in range(40)],
    }
    options = {"resamples": 50}
    breakdown = None
    pure = list(columns.values())
    if config == "categories":
        columns["category"] = ["action" if i < 20 else "" for i in range(40)]
        breakdown = {"category": [value or None for value in columns["category"]]}
    result = group_score(*pure, breakdown=breakdown, **options)
    return columns, options, {"group_score": result["group"]["value"], **result}


def minimal_pair_case(config):
    """Pairs of questions asked yes or no, then pairs of questions of two options, then one in no pair."""
    generator = np.random.default_rng(5)
    columns = {
        "predictions": generator.normal(size=40).round(1).tolist(),
        "references": [1, 0] * 20,
        "questions": [f"q{i if i < 20 else 100 + i // 2}" for i in range(40)],
    }
    options = {"resamples": 50, "kind": "log_odds"}
    pure, pairs = list(columns.values()), None
    if config == "pairs":
        columns["pairs"] = [f"pair {i // 2 if i < 20 else 100 + i // 4}" for i in range(40)]
        columns["pairs"][36:] = [""] * 4
        pairs = [value or None for value in columns["pairs"]]
    result = minimal_pair_accuracy(*pure, pairs, **options)
    main = result["accuracy" if pairs is None else "pair_accuracy"]["value"]
    return columns, options, {"minimal_pair_accuracy": main, **result}


CASES = {
    "entailment_auc": entailment_case,
    "retrieval_map": retrieval_case,
    "multiple_choice_accuracy": choice_case,
    "group_score": group_case,
    "minimal_pair_accuracy": minimal_pair_case,
}


def run_cases(cases, tmp_path, cwd, environment):
    """Each case through `evaluate_client.py`; its results must be those of the pure function."""
    made = [CASES[Path(name).name](config) for _, name, config in cases]
    request = [[*case, columns, options] for case, (columns, options, _) in zip(cases, made, strict=True)]
    (tmp_path / "input.json").write_text(json.dumps(request))
    done = subprocess.run(
        [sys.executable, "-P", str(CLIENT), str(tmp_path / "input.json"), str(tmp_path / "output.json")],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "output.json").read_text())
    for result, (_, _, expected) in zip(results, made, strict=True):
        expected = json.loads(json.dumps(expected))
        for way in ("at_once", "batched", "after_refusal"):
            assert result[way] == expected
        assert result["two_processes"] == [expected, None]
        kind, message, position = result["refused"]
        assert (kind, position) == ("InputError", 0)
        assert "finite" in message
        assert result["module_type"] == "metric"
        assert result["described"]
    return results


@pytest.mark.slow
def test_by_path_at_once_by_batches_and_in_two_processes(repo_root, tmp_path):
    cases = [["path", f"evaluate_metrics/{name}", None] for name in METRICS]
    results = run_cases(cases, tmp_path, repo_root, {"PYTHONPATH": str(repo_root)})
    for result in results:
        failed, attempted = result["examples"]
        assert attempted >= 4
        assert failed == 0


@pytest.mark.slow  # five programs that import `evaluate`
def test_exported_folders_need_nothing_of_this_package(tmp_path, alone):
    command = [sys.executable, "-m", "synvita_data.evaluate_metrics.export", "evaluate_metrics"]
    for _ in range(2):  # the second time over the first
        subprocess.run(command, cwd=tmp_path, check=True)
    refused = subprocess.run(
        [sys.executable, "-P", "-c", "import synvita_data"], env=os.environ | alone, capture_output=True
    )
    assert b"stands alone" in refused.stderr
    cases = [
        ["path", "evaluate_metrics/entailment_auc", "videocon"],
        ["path", "evaluate_metrics/retrieval_map", None],
        ["path", "evaluate_metrics/multiple_choice_accuracy", "types"],
        ["path", "evaluate_metrics/group_score", "categories"],
        ["path", "evaluate_metrics/minimal_pair_accuracy", "pairs"],
    ]
    for result in run_cases(cases, tmp_path, tmp_path, alone):
        assert result["examples"][0] == 0


@pytest.mark.slow
def test_from_an_installed_wheel(repo_root, tmp_path):
    source = tmp_path / "source"
    for name in ("synvita_data", "builders", "evaluate_metrics", "training"):
        shutil.copytree(repo_root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repo_root / name, source / name)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    site = tmp_path / "site"
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    cases = [
        ["installed", "entailment_auc", "videocon"],
        ["installed", "retrieval_map", None],
        ["installed", "multiple_choice_accuracy", "types"],
        ["installed", "group_score", "categories"],
        ["installed", "minimal_pair_accuracy", "pairs"],
    ]
    (tmp_path / "elsewhere").mkdir()
    run_cases(cases, tmp_path, tmp_path / "elsewhere", {"PYTHONPATH": str(site)})


@pytest.mark.slow
def test_from_a_space_on_the_loopback_hub(tmp_path, loopback_hub):
    """Publish the folders as Spaces, load them by name, and run the examples of their cards."""
    owner = loopback_hub.add_user("synvita")
    for name in METRICS:
        export(name, tmp_path / "exported")
    done = run_client(
        """
        import doctest, json, sys
        from pathlib import Path
        from huggingface_hub import HfApi
        import evaluate

        counts = {}
        for name in sys.argv[2:]:
            folder = Path(sys.argv[1]) / name
            HfApi().create_repo(f"synvita/{name}", repo_type="space", space_sdk="gradio")
            HfApi().upload_folder(
                repo_id=f"synvita/{name}", repo_type="space", folder_path=folder,
                ignore_patterns=["__pycache__/*"],
            )
            card = (folder / "README.md").read_text()
            examples = doctest.DocTestParser().get_doctest(card, {}, name, None, 0)
            ran = doctest.DocTestRunner().run(examples)
            counts[name] = [ran.failed, ran.attempted, evaluate.load(f"synvita/{name}").name]
        print(json.dumps(counts), file=sys.stderr)
        """,
        loopback_hub,
        str(tmp_path / "exported"),
        *METRICS,
        home=tmp_path,
        token=owner.token,
        HF_EVALUATE_OFFLINE="0",
        HF_UPDATE_DOWNLOAD_COUNTS="0",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stderr.splitlines()[-1])
    assert set(counts) == set(METRICS)
    for name, (failed, attempted, loaded) in counts.items():
        assert failed == 0, done.stdout
        assert attempted >= 4
        assert name in loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_the_page_of_a_space_starts_and_computes(tmp_path, alone, name):
    """`python app.py` in the folder alone, under a name of its own, as on a Space."""
    export(name, tmp_path).rename(tmp_path / "app")
    environment = os.environ | alone
    environment |= {"HF_MODULES_CACHE": str(tmp_path / "modules"), "NO_PROXY": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-u", "app.py"],
        cwd=tmp_path / "app",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = ""
        while not (address := re.search(r"http://127\.0\.0\.1:\d+", seen)):
            line = process.stdout.readline()
            assert line, f"the page ended: {seen}"
            seen += line
        url = address.group()
        with urllib.request.urlopen(f"{url}/config") as answer:
            components = json.load(answer)["components"]
        table = next(
            c["props"] for c in components if c["type"] == "dataframe" and c["props"].get("interactive")
        )
        example = table["value"]["data"]
        columns = table["headers"]
        defaults = [
            c["props"]["value"] for c in components if c["type"] in ("dropdown", "slider", "checkbox")
        ]
        estimates, full = call(url, [{"headers": columns, "data": example, "metadata": None}, *defaults])
        assert full[name] == pytest.approx(expected_of_the_page(name, columns, example))
        assert any(row[1] == pytest.approx(full[name], abs=0.005) for row in estimates["data"])
        example[2][0] = "nan"
        with pytest.raises(AssertionError, match="position 2"):
            call(url, [{"headers": columns, "data": example, "metadata": None}, *defaults])
    finally:
        process.terminate()
        process.wait(300)


def call(url, data):
    """gradio's HTTP interface: post the inputs, then read the event stream to its end."""
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(
        f"{url}/gradio_api/call/compute", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        event = json.load(answer)["event_id"]
    deadline = time.monotonic() + 60
    with urllib.request.urlopen(f"{url}/gradio_api/call/compute/{event}") as stream:
        text = ""
        while time.monotonic() < deadline and (line := stream.readline()):
            text += line.decode()
    kind, content = re.findall(r"event: (\w+)\ndata: (.*)", text)[-1]
    assert kind == "complete", content
    return json.loads(content)


def expected_of_the_page(name, columns, example):
    """The value of the page's example, by hand from its rows."""
    rows = [dict(zip(columns, row, strict=True)) for row in example]
    if name == "entailment_auc":
        yes, no = ([float(r["predictions"]) for r in rows if r["references"] == label] for label in "10")
        return 100 * np.mean([(x > y) + (x == y) / 2 for x in yes for y in no])
    if name == "multiple_choice_accuracy":
        return 100 * (1 + 1 / 2 + 0) / 3  # right alone at the top, tied with one other, not at the top
    if name == "group_score":
        return 100 * (1 + 1 / 2 + 0) / 3  # right; one right score tied with one wrong score; wrong
    if name == "minimal_pair_accuracy":
        return 100 * (1 + 1 / 2 + 0) / 3  # both right; one right and one at the threshold; one wrong
    # First caption: positives among two at the top (expected precision 3/4) and tied at ranks 3 and 4;
    # second: one of three at the top.
    first = ((1 + 1 / 2) / 2 + (2 / 3 + 2 / 4) / 2) / 2
    return 100 * (first + (1 + 1 / 2 + 1 / 3) / 3) / 2


def test_an_unknown_metric_is_named_with_the_known_ones():
    with pytest.raises(
        SynvitaError, match="entailment_auc, retrieval_map, multiple_choice_accuracy, group_score"
    ):
        metric_folder("accuracy")
    with pytest.raises(SynvitaError):
        metric_folder("../builders")


def test_pure_functions_load_neither_evaluate_nor_datasets_nor_torch():
    code = (
        "import sys\n"
        "from synvita_data.evaluate_metrics.entailment_auc.auc import entailment_auc as a\n"
        "from synvita_data.evaluate_metrics.retrieval_map.ranking import retrieval_map as r\n"
        "from synvita_data.evaluate_metrics.multiple_choice_accuracy.choice import multiple_choice_accuracy as m\n"
        "from synvita_data.evaluate_metrics.group_score.group import group_score as g\n"
        "from synvita_data.evaluate_metrics.minimal_pair_accuracy.minimal_pair import minimal_pair_accuracy as p\n"
        "import synvita_data.metrics\n"
        "g([.9, .1, .2, .8], [0, 0, 1, 1], [0, 1, 0, 1], [1] * 4), p([.9, .1], [1, 0], [1, 2], [1, 1])\n"
        "a([.9, .1], [1, 0], ['v', 'v']), r([.9, .1], [1, 0], ['c', 'c'], ['v', 'w']), m([.9, .1], [1, 0], [1, 1])\n"
        "heavy = {'evaluate', 'datasets', 'torch', 'pandas', 'pyarrow', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_columns_are_looked_at_before_evaluate_makes_them_fit():
    auc = metric("entailment_auc")
    with pytest.raises(ValueError, match=r"position 1 .*`references` is 0.5 here; expected a whole number"):
        auc.compute(predictions=[0.9, 0.1], references=[1, 0.5])
    with pytest.raises(ValueError, match=r"position 1 .*`videos` is missing here"):
        metric("entailment_auc").compute(
            predictions=[0.9, 0.1], references=[1, 0], videos=["a", float("nan")]
        )
    # Rows of a larger table of pandas, in an order of their own.
    table = pd.DataFrame({"score": [0.9, 0.1, 0.8], "label": [1, 0, 1], "video": ["a", "a", "b"]}).iloc[
        [2, 1]
    ]
    found = metric("entailment_auc").compute(
        predictions=table["score"], references=table["label"], videos=table["video"], resamples=0
    )
    assert (found["entailment_auc"], found["videos"]) == (100.0, 2)
    breakdown = metric("entailment_auc", "videocon").compute(
        predictions=[0.9, 0.1],
        references=[1, 0],
        videos=["a", "a"],
        texts=["x", "y"],
        pairs=["p", "p"],
        misalignment=["action", "action"],
        hard=[float("nan"), float("nan")],
        resamples=0,
    )
    assert not breakdown["groups"].get("hard")
    with pytest.raises(ValueError, match=r"`options` is 0\.5"):
        metric("multiple_choice_accuracy").compute(
            predictions=[0.9, 0.1], references=[1, 0], questions=["q", "q"], options=[0.5, 1]
        )
