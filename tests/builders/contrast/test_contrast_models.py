"""`synvita contrast` with models: a server of this machine, and a tiny chat model; what is refused is asked again only by
`--retry-failed`, tokens are counted, and a server that is not there is one error."""

import json

import pytest
from chat_server import CAT, Answer, ChatServer, completion
from in_process import run_program

from synvita_data.builders.contrast.models import server as connection
from synvita_data.builders.triplets import TripletReader
from synvita_data.testing import make_tiny

KEY = "sk-not-to-be-seen-anywhere-0123"


@pytest.fixture(autouse=True)
def a_key_and_no_waits(monkeypatch):
    for name in connection.KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(connection.KEYS[0], KEY)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.001)


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("video_id,caption\n" + "".join(f"v{n},a dog runs on the beach {n}\n" for n in range(6)))
    return path


@pytest.fixture
def server():
    with ChatServer() as made:
        made.decide = answer
        yield made


def answer(asked):
    """A cat in the place of the dog, on the same beach."""
    content = json.dumps(asked.body["messages"])
    number = next((n for n in range(6) if f"beach {n}" in content), None)
    if number is None:  # the question of `check`
        return None
    return Answer(
        completion(
            json.dumps(
                {
                    **CAT,
                    "contrast_caption": f"a cat runs on the beach {number}",
                    "source": "dog",
                    "target": "cat",
                }
            )
        )
    )


def contrast(captions, writer, *more):
    out = captions.with_name("t.csv")
    arguments = ["--captions", captions, "--out", out, "--writer", writer, "--misalignment", "object"]
    return run_program("contrast", *arguments, *more), out


def asked(server):
    """Captions that the server was asked about."""
    found = [json.dumps(chat.body["messages"]) for chat in server.chats]
    return sorted(n for text in found for n in range(6) if f"beach {n}" in text)


def test_a_server_writes_and_its_tokens_are_counted(captions, server, capsys):
    status, out = contrast(captions, f"api:{server.url}#tiny", "--price-in", 2, "--price-out", 10)
    assert status == 0, capsys.readouterr().err
    rows = list(TripletReader(out))
    assert [row.neg_caption for row in rows] == [f"a cat runs on the beach {n}" for n in range(6)]
    assert all(row.nle == CAT["explanation"] for row in rows)
    assert {row.contrast.writer.partition(":")[0] for row in rows} == {"api"}
    assert {len(row.contrast.prompts) > 7 for row in rows} == {True}
    usage = json.loads(out.with_name("t.report.json").read_text())["usage"]
    assert (usage["requests"], usage["prompt_tokens"], usage["completion_tokens"]) == (6, 600, 120)
    assert usage["cost"] == pytest.approx((600 * 2 + 120 * 10) / 1e6)
    assert "cost 0.0024" in " ".join(capsys.readouterr().out.split())
    # Found done: the server is not asked again, and need not be there.
    before = len(server.chats)
    assert contrast(captions, f"api:{server.url}#tiny")[0] == 0
    assert len(server.chats) == before
    # The key is in nothing that was written.
    written = [path for path in captions.parent.rglob("*") if path.is_file()]
    assert len(written) > 8
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_what_is_refused_is_asked_again_by_retry_failed_alone(captions, server, capsys):
    bad = {2: "I am sorry, I cannot help with that.", 4: "<html>502</html>"}

    def sometimes(of):
        found = answer(of)
        content = json.dumps(of.body["messages"])
        wrong = next((text for n, text in bad.items() if f"beach {n}" in content), None)
        return found if wrong is None else Answer(completion(wrong))

    server.decide = sometimes
    status, out = contrast(captions, f"api:{server.url}#tiny")
    assert status == 1  # somebody should look
    assert "2 failed and are in quarantine" in " ".join(capsys.readouterr().out.split())
    assert len(list(TripletReader(out))) == 4
    lines = [json.loads(line) for line in out.with_name("t.quarantine.jsonl").read_text().splitlines()]
    assert [(line["row"], line["stage"], line["reason"]) for line in lines] == [
        (2, "write", "WriterRefusal"),
        (4, "write", "WriterRefusal"),
    ]
    assert "sorry" in lines[0]["found"]
    assert contrast(captions, f"api:{server.url}#tiny")[0] == 1
    assert asked(server) == [0, 1, 2, 3, 4, 5]
    bad.clear()
    status, out = contrast(captions, f"api:{server.url}#tiny", "--retry-failed")
    assert status == 0
    assert asked(server) == [0, 1, 2, 2, 3, 4, 4, 5]
    assert len(list(TripletReader(out))) == 6


def test_answers_that_fail_a_check_have_their_reason(captions, server, capsys):
    def again(of):
        content = json.dumps(of.body["messages"])
        number = next((n for n in range(6) if f"beach {n}" in content), 0)
        text = [f"a dog runs on the beach {number}", f"a dog does not run on the beach {number}", "x"][
            number % 3
        ]
        return Answer(completion(json.dumps({**CAT, "contrast_caption": text})))

    server.decide = again
    status, out = contrast(captions, f"api:{server.url}#tiny")
    lines = [json.loads(line) for line in out.with_name("t.quarantine.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert status == 1
    assert {line["stage"] for line in lines} <= {"check", "write"}
    assert {line["problem"].partition(".")[0] for line in lines} == {
        "the contrast caption is the caption",
        "the contrast caption only negates the caption",
        "nothing of the caption is left",
    }
    assert list(out.read_text().splitlines())[1:] == []


def test_no_server_is_one_error_before_the_run(captions, capsys):
    with ChatServer() as gone:
        url = gone.url
    status, out = contrast(captions, f"api:{url}#tiny", "--timeout", 2)
    assert status == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "127.0.0.1" in said
    assert KEY not in said
    assert not out.exists()
    assert not connection._HIDE.keys  # its writer is closed


def test_no_such_model_is_one_error(captions, capsys, server):
    server.decide = lambda of: Answer({"error": {"message": "no model of that name"}}, status=404)
    assert contrast(captions, f"api:{server.url}#huge")[0] == 2
    assert "no such model" in " ".join(capsys.readouterr().err.split())
    assert contrast(captions, "llm:/no/such/model")[0] == 2
    assert not connection._HIDE.keys


@pytest.mark.slow
def test_a_server_that_goes_leaves_a_run_to_continue(captions, server, capsys):
    seen = []

    def then_gone(of):
        found = answer(of)
        if found is not None:
            seen.append(of)
            if len(seen) > 3:
                return Answer({"error": {"message": "bad key"}}, status=401)
        return found

    server.decide = then_gone
    status, out = contrast(captions, f"api:{server.url}#tiny", "--concurrency", 1)
    assert status != 0
    assert not out.exists()
    server.decide = answer
    status, out = contrast(captions, f"api:{server.url}#tiny", "--concurrency", 1, "--retry-failed")
    assert status == 0, capsys.readouterr()
    assert len(list(TripletReader(out))) == 6


@pytest.mark.slow
def test_a_chat_model_here_gives_the_same_file_whoever_asks(captions, tmp_path, capsys):
    """Its weights are random: every answer is refused, and each is in the quarantine with what it wrote."""
    model = make_tiny("chat", tmp_path / "tiny-chat")
    more = ("--device", "cpu", "--max-tokens", 8)
    status, out = contrast(captions, f"llm:{model}", *more)
    assert status == 1
    lines = [json.loads(line) for line in out.with_name("t.quarantine.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(6))
    assert all(line["problem"] for line in lines)
    assert contrast(captions, f"llm:{model}", *more)[0] == 1
    assert "0 made now" in " ".join(capsys.readouterr().out.split())
