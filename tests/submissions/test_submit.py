"""Submitting against a Hub of our own, with the real huggingface_hub: pull requests, their review, and what breaks halfway."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import yaml
from loopback_hub.forked import Commands
from small_annotations import write_ssv2
from submitted_results import change, evaluate, write_annotations

from synvita_data.submissions.trained import RECORD

# One worker starts the program once.
pytestmark = pytest.mark.xdist_group("submit")

IMPORTS = (
    "synvita_data.cli",
    "synvita_data.submissions.send",
    "synvita_data.submissions.review",
    "synvita_data.submissions.model_page",
    "synvita_data.annotations.entailment",
    "synvita_data.evaluate_metrics.entailment_auc.entailment_auc",
    "pyarrow.parquet",
    "rich.table",
)
REPO = "board/results"


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("annotations"))


@pytest.fixture(scope="module")
def made(annotations, tmp_path_factory):
    """A folder of results of one model, which nobody changes."""
    folder = tmp_path_factory.mktemp("made") / "results"
    evaluate(annotations, "videocon-llm", folder)
    return folder


@pytest.fixture
def results(made, tmp_path):
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def hub(loopback_hub, tmp_path):
    """A results repository of somebody else's, and an account that submits."""
    loopback_hub.add_user("board")
    loopback_hub.add_user("owner")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("# Results\n")
    loopback_hub.serve(REPO, tmp_path / "empty", kind="dataset")
    return loopback_hub


@pytest.fixture
def run(hub, annotations, tmp_path):
    commands = Commands(hub, tmp_path, IMPORTS)

    def submit(*arguments, token="hf_owner_write", annotations=annotations, **how):
        given = [] if annotations is None else ["--annotations", annotations]
        return commands("submit", *arguments, *given, HF_TOKEN=token, **how)

    submit.commands = commands
    return submit


def repository(hub):
    return hub.repos["dataset", REPO]


def merged(hub, number=1):
    return repository(hub).merge(number)


def place_of(results):
    record = json.loads((results / "owner--model" / "videocon-llm.json").read_text())
    return f"results/owner--model/{record['model']['revision']}/videocon-llm"


def test_a_submission_is_one_pull_request_and_is_not_opened_twice(hub, run, results):
    dry = run(results, REPO, "--dry-run")
    assert (dry.status, dry.err) == (0, "")
    place = place_of(results)
    assert f"{place}.json" in dry.out
    assert "2 files would be sent" in dry.out
    assert repository(hub).pulls == {}
    assert not [each for each in hub.log if each.route in ("commit", "upload", "preupload")]

    done = run(results, REPO)
    assert (done.status, done.err) == (0, "")
    (pull,) = repository(hub).pulls.values()
    assert (pull.author, pull.title) == ("owner", "Results of owner/model: videocon-llm")
    assert f"/datasets/{REPO}/discussions/1" in done.out
    sent = repository(hub).commits[pull.head].tree
    assert sent.keys() - repository(hub).resolve("main").tree.keys() == {f"{place}.json", f"{place}.parquet"}
    assert sent[f"{place}.json"].content == (results / "owner--model/videocon-llm.json").read_bytes()
    table = pq.read_table(__import__("io").BytesIO(sent[f"{place}.parquet"].content))
    assert "caption" not in table.column_names
    assert table["score"].equals(pq.read_table(results / "owner--model/videocon-llm.parquet")["score"])

    again = run(results, REPO)
    assert again.status == 0
    assert list(repository(hub).pulls) == [1]
    merged(hub)
    again = run(results, REPO)
    assert again.status == 2
    assert "has these results already" in again.err


def test_what_is_not_as_its_scores_say_is_not_sent(hub, run, results):
    change(results / "owner--model/videocon-llm.json", lambda record: record["main_score"].update(value=99.0))
    done = run(results, REPO)
    assert done.status == 2
    assert "main_score.value 99.0" in done.err
    assert "as recomputed" in done.err
    assert repository(hub).pulls == {}


@pytest.mark.slow
def test_two_results_of_one_model_are_refused(run, results):
    shutil.copytree(results / "owner--model", results / "copy")
    done = run(results, REPO)
    assert done.status == 2
    assert "two results are of one model, revision and task" in done.err


def test_tokens_and_places_are_not_sent(hub, run, results):
    for setting, said in (("hf_" + "a1B2" * 8, "token"), ("/home/somebody/models/x", "home folder")):
        path = results / "owner--model/videocon-llm.json"
        change(path, lambda record, value=setting: record["model"]["settings"].update(note=value))
        for more in ((), ("--dry-run",)):
            done = run(results, REPO, *more)
            assert done.status == 2
            assert said in done.err
    assert repository(hub).pulls == {}


@pytest.mark.slow
def test_another_result_in_that_place_stays(hub, run, results, annotations, tmp_path):
    assert run(results, REPO).status == 0
    merged(hub)
    change(results / "owner--model/videocon-llm.json", lambda record: record["run"].update(wall_seconds=9.0))
    done = run(results, REPO)
    assert done.status == 2
    assert "a submission changes none" in done.err


@pytest.mark.parametrize(
    ("route", "how", "said"),
    [
        ("commit", 503, "answered 503"),
        pytest.param("commit", 429, "asks to wait", marks=pytest.mark.slow),
        pytest.param("commit", "drop", "cannot open the pull request", marks=pytest.mark.slow),
        pytest.param("lfs-batch", 503, "answered 503", marks=pytest.mark.slow),
        pytest.param("upload", 503, "cannot upload", marks=pytest.mark.slow),
        pytest.param("preupload", 429, "asks to wait", marks=pytest.mark.slow),
        pytest.param("tree", 503, "answered 503", marks=pytest.mark.slow),
        pytest.param("info", 429, "asks to wait", marks=pytest.mark.slow),
    ],
)
def test_a_hub_that_fails_halfway_leaves_nothing_and_the_same_again_continues(
    hub, run, results, route, how, said
):
    hub.fail(route, how=how, times=99)
    done = run(results, REPO)
    assert done.status == 2
    assert len(done.errors) == 1
    assert said in done.err
    assert repository(hub).pulls == {}
    hub._faults.clear()
    assert run(results, REPO).status == 0
    assert list(repository(hub).pulls) == [1]


@pytest.mark.slow
def test_a_lost_answer_opens_no_second_pull_request(hub, run, results):
    hub.fail("commit", how="drop-answer")
    done = run(results, REPO)
    assert (done.status, done.err) == (0, "")
    assert list(repository(hub).pulls) == [1]


@pytest.mark.slow
def test_no_hub_no_token_and_a_token_that_may_only_read(hub, run, results):
    hub.add_user("owner", role="read")
    for how, said in (
        ({"HF_HUB_OFFLINE": "1"}, "offline mode"),
        ({"token": ""}, "no token"),
        ({"token": "hf_owner_read"}, "may only read"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot look at the repository"),
    ):
        done = run(results, REPO, **how)
        assert (done.status, len(done.errors)) == (2, 1)
        assert said in done.err
    assert repository(hub).pulls == {}


def test_the_model_page_gets_an_entry(hub, run, results, annotations, tmp_path):
    # A result that is official, as far as the model's page is concerned; the counts are those of small annotations.
    (tmp_path / "model").mkdir()
    hub.serve("owner/model", tmp_path / "model")
    done = run(results, REPO, "--model-repo", "owner/model")
    assert done.status == 2
    assert "--dataset-id" in done.err
    ids = ("--model-repo", "owner/model", "--dataset-id", "bench/mark", "--task-id", "llm")
    done = run(results, REPO, *ids)
    assert done.status == 2
    assert "not official" in done.err
    assert repository(hub).pulls == {}  # what cannot be finished is not begun


@pytest.mark.slow
def test_an_official_result_reaches_the_model_page(hub, run, tmp_path):
    # As large as the real task, so that its expected counts are met: 18 captions, 216 videos, 12 each.
    pairs = [
        (f"videos/{video}.avi", f"caption {caption}", int(video // 12 == caption))
        for video in range(216)
        for caption in range(18)
    ]
    (tmp_path / "large").mkdir()
    write_ssv2(tmp_path / "large" / "eval_ssv2_temporal.csv", pairs, prompted=False)
    evaluate(tmp_path / "large", "ssv2-temporal", tmp_path / "large" / "results")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    hub.serve("owner/model", tmp_path / "model")
    words = (tmp_path / "large" / "results", REPO, "--model-repo", "owner/model")
    words += ("--dataset-id", "bench/ssv2", "--task-id", "temporal")
    hub.fail("commit", how=503, times=99, path="*/models/*")
    done = run(*words, annotations=tmp_path / "large")
    assert (done.status, list(repository(hub).pulls)) == (2, [1])
    hub._faults.clear()
    done = run(*words, annotations=tmp_path / "large")
    assert (done.status, done.err) == (0, "")
    assert list(repository(hub).pulls) == [1]  # and not a second one
    tree = hub.repos["model", "owner/model"].resolve("main").tree
    (entry,) = yaml.safe_load(tree[".eval_results/ssv2-temporal.yaml"].content)
    assert entry["dataset"] == {"id": "bench/ssv2", "task_id": "temporal"}
    assert entry["source"]["url"].endswith(f"/datasets/{REPO}/discussions/1")


def test_entries_of_others_stay_on_the_model_page(hub, tmp_path, results, monkeypatch):
    """The files for the model's page are those that huggingface_hub reads back."""
    from huggingface_hub import parse_eval_result_entries

    from synvita_data.evaluation.results import read_result
    from synvita_data.hub.repo import RemoteFile, Snapshot
    from synvita_data.submissions.model_page import model_files

    result = read_result(results / "owner--model/videocon-llm.json")
    result.record["official"] = True

    class Repo:
        id = "owner/model"

        def snapshot(self, revision):
            return Snapshot("c" * 40, {".eval_results/videocon-llm.yaml": RemoteFile(1, "0" * 40, None)})

        def read_text(self, path, commit):
            other = {"dataset": {"id": "other/bench", "task_id": "x"}, "value": 1.5}
            old = {"dataset": {"id": "bench/mark", "task_id": "llm"}, "value": 2.5}
            return yaml.safe_dump([other, old])

    (file,) = model_files(
        {"a": result}, Repo(), dataset_id="bench/mark", ids={"videocon-llm": "llm"}, source="http://x/1"
    )
    assert file.path == ".eval_results/videocon-llm.yaml"
    other, own = parse_eval_result_entries(yaml.safe_load(file.source))
    assert (other.dataset_id, other.value) == ("other/bench", 1.5)
    assert (own.dataset_id, own.task_id, own.source_url) == ("bench/mark", "llm", "http://x/1")
    assert own.value == round(result.main_score["value"], 6)
    assert "auc in percent" in own.notes


@pytest.mark.slow
def test_pull_requests_are_reviewed_once_and_merged_results_get_reports(hub, run, results, annotations):
    commands = run.commands
    assert run(results, REPO).status == 0
    board = {"HF_TOKEN": "hf_board_write"}
    words = ("verify", REPO, "--annotations", annotations)
    done = commands(*words, "--pull-requests", "--comment", **board)
    assert (done.status, done.err) == (0, "")
    (event,) = repository(hub).pulls[1].events
    text = event["data"]["latest"]["raw"]
    assert "| verified | auc " in text
    assert "Video-LLaVA 62.98" in text  # the nearest published row, with the difference
    done = commands(*words, "--pull-requests", "--comment", **board)
    assert done.status == 0
    assert len(repository(hub).pulls[1].events) == 1

    report = json.loads(commands(*words, "--revision", "refs/pr/1", "--json", "-").out)
    assert report["verdict"] == "verified"
    merged(hub)
    done = commands(*words, "--write", **board)
    assert (done.status, done.err) == (0, "")
    tree = repository(hub).resolve("main").tree
    place = place_of(results)
    assert json.loads(tree[f"{place}.verified.json"].content)["verdict"] == "verified"


def pulled(hub, changes, author="mallory"):
    """A pull request that was made by hand: path -> content, None to delete."""
    from loopback_hub.store import File

    repo = repository(hub)
    head = repo.resolve("main")
    tree = dict(head.tree)
    for path, content in changes.items():
        if content is None:
            del tree[path]
        else:
            tree[path] = File(content, lfs=path.endswith(".parquet"))
    return repo.open_pull(tree, "Results", "", author, head.sha)


@pytest.mark.slow
def test_pull_requests_that_do_more_than_add_results_are_refused(hub, run, results, annotations):
    assert run(results, REPO).status == 0
    merged(hub)
    place = place_of(results)
    tree = repository(hub).resolve("main").tree
    good = {
        f"results/x/1/videocon-llm{suffix}": tree[place + suffix].content for suffix in (".json", ".parquet")
    }
    whole = pq.read_table(results / "owner--model/videocon-llm.parquet")
    with_captions = results.parent / "captions.parquet"
    pq.write_table(whole, with_captions)
    for changes, said in (
        ({f"{place}.json": b"{}"}, "changes results/"),
        ({f"{place}.parquet": None}, "deletes results/"),
        ({"README.md": b"# mine"}, "changes README.md"),
        ({".github/workflows/x.yml": b"on: push"}, "is no part of a result"),
        ({**good, f"{place}.verified.json": b"{}"}, "is no part of a result"),
        ({"results/x/1/videocon-llm.parquet": b"PAR1"}, "without its result"),
        ({"results/x/../../y.json": b"{}"}, "is no part of a result"),
        ({**good, "results/x/1/big.json": b" " * (9 << 20)}, "bytes: at most"),
        (good, "belongs to results/owner--model"),
        ({"results/x/1/videocon-llm.json": b"{"}, "not a result file"),
        (
            {
                "results/x/1/videocon-llm.json": good["results/x/1/videocon-llm.json"],
                "results/x/1/videocon-llm.parquet": with_captions.read_bytes(),
            },
            "",
        ),
    ):
        pull = pulled(hub, changes)
        done = run.commands(
            "verify", REPO, "--revision", f"refs/pr/{pull.number}", "--annotations", annotations
        )
        assert done.status == 1, (said, done.out, done.err)
        assert said in " ".join(done.out.split())


@pytest.mark.slow
def test_annotations_of_a_repository(hub, run, results, annotations):
    hub.serve("board/annotations", annotations, kind="dataset")
    done = run(results, REPO, "--dry-run", annotations="board/annotations")
    assert (done.status, done.err) == (0, "")
    assert "verified · owner/model" in done.out
    for name, said in (("board/nothing", "does not exist"), ("no such place", "no annotations")):
        done = run(results, REPO, "--dry-run", annotations=name)
        assert done.status == 2
        assert said in done.err
    done = run(results, REPO, "--dry-run", annotations=None)
    assert "consistent with its own table" in done.out


def test_training_records_go_along_and_benchmarks_must_not_be_trained_on(hub, run, results, tmp_path):
    record = {
        "recipe": {"data": "synvita/videocon-syn"},
        "model": {"name": "LanguageBind/Video-LLaVA-7B-hf"},
        "data": {"path": "synvita/videocon-syn"},
    }
    own = tmp_path / "record.json"
    own.write_text(json.dumps(record))
    done = run(results, REPO, "--training-record", own)
    assert (done.status, done.err) == (0, "")
    assert "trained on synvita/videocon-syn, by its own record" in done.out
    sent = repository(hub).commits[repository(hub).pulls[1].head].tree
    (path,) = [path for path in sent if path.endswith(RECORD)]
    assert json.loads(sent[path].content) == record
    own.write_text(json.dumps({**record, "data": {"path": "lmms-lab/TempCompass"}}))
    done = run(results, REPO, "--training-record", own)
    assert done.status == 2
    assert "must not be trained on" in done.err
