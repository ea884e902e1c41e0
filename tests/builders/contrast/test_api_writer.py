"""`api:URL#MODEL` against a server of this machine that behaves well and badly."""

import asyncio
import gzip
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from chat_server import CAT, Answer, ChatServer, completion

from synvita_data.builders.contrast import api
from synvita_data.builders.contrast.api import ApiWriter
from synvita_data.builders.contrast.base import Contrast, ContrastRequest, ContrastWriter
from synvita_data.builders.contrast.models import server as connection
from synvita_data.errors import SynvitaError
from synvita_data.schema import MISALIGNMENTS

DOG = ContrastRequest("a dog runs on the beach", "object")
GOOD = Contrast(CAT["contrast_caption"], CAT["source"], CAT["target"], CAT["explanation"])
LINES = "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in CAT.items())


@pytest.fixture(autouse=True)
def no_keys_and_no_waits(monkeypatch):
    for name in connection.KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.001)


@pytest.fixture
def server():
    with ChatServer() as made:
        yield made


@pytest.fixture
def writer_of(server):
    made = []

    def make(url=None, model="tiny", **settings):
        made.append(ApiWriter(url or server.url, model, **{"timeout": 20, "tries": 3, **settings}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def refusal(writer):
    (answer,) = writer.write([DOG])
    assert answer.contrasts == ()
    return answer.refused


# -- a good server ----------------------------------------------------------------------------------------


def test_it_is_a_writer_whose_record_is_public(writer_of, server):
    writer = writer_of()
    assert isinstance(writer, ContrastWriter)
    host = server.url.split("/")[2]
    assert writer.name == f"api:{host}#tiny"
    record = json.loads(json.dumps(dict(writer.record())))
    assert record["writer"] == writer.name
    assert server.asked == []  # neither costs a request
    assert all(
        dict(other.record()) != record
        for other in (writer_of(model="big"), writer_of(temperature=0.5), writer_of(max_tokens=9))
    )
    # How it is run changes no answer.
    assert dict(writer_of(concurrency=2, timeout=3, tries=1, price_in=1.0).record()) == record


def test_answers_come_in_order_and_are_asked_for_as_json(writer_of, server):
    def decide(asked):
        caption = asked.body["messages"][0]["content"].rpartition("Caption: ")[2].partition("\n")[0]
        return Answer(completion(json.dumps({**CAT, "contrast_caption": f"not {caption}", "target": "not"})))

    server.decide = decide
    writer = writer_of(concurrency=3)
    writer.check()
    requests = [
        ContrastRequest(f"{number} dogs run\non a beach", MISALIGNMENTS[number % 7]) for number in range(20)
    ]
    requests = [one for one in requests if one.misalignment != "hallucination"]
    answers = writer.write(requests)
    found = [answer.contrasts[0].neg_caption if answer.contrasts else answer.refused for answer in answers]
    assert len(found) == len(requests)
    # `not …` repeats the caption, which is refused for each with its own words.
    for request, text in zip(requests, found, strict=True):
        assert " ".join(request.caption.split()) in text
    bodies = [asked.body for asked in server.chats[1:]]
    assert {body["model"] for body in bodies} == {"tiny"}
    assert all(body["temperature"] == 0 and "seed" not in body for body in bodies)
    by_kind = {body["response_format"]["json_schema"]["schema"]["required"][1] for body in bodies}
    assert by_kind == {"source", "explanation"}  # flip has no phrases
    assert all(body["response_format"]["json_schema"]["strict"] for body in bodies)
    assert all("one JSON object" in body["messages"][0]["content"] for body in bodies)


def test_so_many_requests_are_on_their_way_at_a_time(writer_of, server):
    """Nobody is answered before three are there, and there are never four."""
    meet = threading.Barrier(3)

    def decide(asked):
        meet.wait(timeout=60)

    server.decide = decide
    answers = writer_of(concurrency=3, timeout=60).write([DOG] * 9)
    assert [answer.contrasts for answer in answers] == [(GOOD,)] * 9
    assert server.most_at_once == 3


def test_labelled_lines_and_parts_are_read_too(writer_of, server):
    server.then(Answer(completion(LINES)))
    server.then(
        Answer(completion([{"type": "text", "text": LINES[:30]}, {"type": "text", "text": LINES[30:]}]))
    )
    server.then(Answer(completion(f"```json\n{json.dumps(CAT)}\n```")))
    writer = writer_of(concurrency=1)
    assert [answer.contrasts for answer in writer.write([DOG] * 3)] == [(GOOD,)] * 3


def test_candidates_are_drawn_with_seeds_of_their_own(writer_of, server):
    def decide(asked):
        animal = {0.0: "cat", 0.8: "cow"}[asked.body["temperature"]]
        return Answer(completion(json.dumps(CAT).replace("cat", animal)))

    server.decide = decide
    request = ContrastRequest(DOG.caption, "object", seed=5, candidates=4)
    (answer,) = writer_of().write([request])
    assert [one.neg_caption for one in answer.contrasts] == [
        "a cat runs on the beach",
        "a cow runs on the beach",
    ]
    seeds = [asked.body.get("seed") for asked in server.chats]
    assert seeds.count(None) == 1
    assert len(set(seeds)) == 4
    again = len(server.chats)
    writer_of().write([request])
    assert sorted(map(str, seeds)) == sorted(str(asked.body.get("seed")) for asked in server.chats[again:])


def test_one_candidate_that_fails_does_not_take_the_others(writer_of, server):
    server.decide = lambda asked: Answer({}, 400) if "seed" in asked.body else None
    (answer,) = writer_of().write([ContrastRequest(DOG.caption, "object", candidates=3)])
    assert answer.contrasts == (GOOD,)


def test_tokens_and_cost_are_counted(writer_of, server):
    writer = writer_of(price_in=2.0, price_out=10.0)
    assert "cost" not in writer_of().usage()
    writer.write([DOG] * 3)
    used = writer.usage()
    assert {name: used[name] for name in ("requests", "refused", "calls", "retries", "uncounted")} == {
        "requests": 3,
        "refused": 0,
        "calls": 3,
        "retries": 0,
        "uncounted": 0,
    }
    assert (used["prompt_tokens"], used["completion_tokens"]) == (300, 60)
    assert used["cost"] == pytest.approx(300 * 2 / 1e6 + 60 * 10 / 1e6)
    for usage in ("many", {"prompt_tokens": -1, "completion_tokens": True}, []):
        server.then(Answer(completion(usage=usage)))
    writer.write([DOG] * 3)
    assert writer.usage()["uncounted"] == 3
    assert writer.usage()["prompt_tokens"] == 300
    writer.close()
    assert writer.usage()["calls"] == 6


def test_it_works_inside_of_a_running_loop_and_from_threads(writer_of):
    writer = writer_of()

    async def notebook():
        return writer.write([DOG])

    assert asyncio.run(notebook())[0].contrasts == (GOOD,)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: writer.write([DOG, DOG]), range(3)))
    assert all(answer.contrasts == (GOOD,) for answers in found for answer in answers)


def test_nothing_is_left_when_it_is_closed(writer_of):
    before, keys = set(threading.enumerate()), list(connection._HIDE.keys)
    writer = writer_of()
    writer.write([DOG])
    writer.close()
    writer.close()
    mine = [thread for thread in set(threading.enumerate()) - before if thread.name == "contrast-api"]
    assert mine == []
    assert connection._HIDE.keys == keys
    assert writer.write([DOG])[0].contrasts == (GOOD,)  # opened again


# -- what servers do not understand -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "option"),
    [
        (400, "'response_format' of type 'json_schema' is not supported with this model", "response_format"),
        (422, "Extra inputs are not permitted: seed", "seed"),
        (400, "Unsupported value: 'temperature' does not support 0 with this model", "temperature"),
        (400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        (400, "Bad Request", "response_format"),
        (501, "not implemented", "response_format"),
    ],
)
def test_what_a_server_refuses_is_left_out_from_then_on(writer_of, server, status, message, option):
    def decide(asked):
        return (
            Answer({"error": {"message": message}}, status)
            if option in asked.body
            else Answer(completion(LINES))
        )

    server.decide = decide
    writer = writer_of(temperature=0.7, concurrency=4)
    answers = writer.write([DOG] * 8)
    assert [answer.contrasts for answer in answers] == [(GOOD,)] * 8
    refused = len([asked for asked in server.chats if option in asked.body])
    assert 1 <= refused <= 4  # those that were on their way together
    before = len(server.chats)
    writer.write([DOG] * 3)
    later = server.chats[before:]
    assert len(later) == 3
    assert all(option not in asked.body for asked in later)
    if option == "max_tokens":
        assert {asked.body["max_completion_tokens"] for asked in later} == {512}
    if option == "response_format":
        assert all("JSON" not in asked.body["messages"][0]["content"] for asked in later)


# -- servers that behave badly ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b"<!DOCTYPE html><html>Welcome to nginx!</html>"), "HTML"),
        (Answer(b"Service is fine"), "not an answer"),
        (Answer(b""), "not an answer"),
        (Answer(b"[" * 100_000), "not an answer"),
        (Answer([1, 2]), "not an answer"),
        (Answer({"error": {"message": "model overloaded, sorry", "code": None}}), "overloaded"),
        (Answer({"error": "something is wrong"}), "something is wrong"),
        (Answer({}), "no message"),
        (Answer({"choices": []}), "no message"),
        (Answer({"choices": [{"message": None}]}), "no message"),
        (Answer({"choices": "none"}), "no message"),
        (Answer(completion(17)), "no text"),
        (Answer(completion("", refusal="I will not do this")), "refused"),
        (Answer(completion(finish="content_filter")), "refused"),
        (Answer(completion("Sorry, I can't do that.")), "refused"),
        (Answer(completion(LINES[:60], finish="length")), "cut off"),
        (Answer(completion('{"contrast_caption": "a c')), "no labels"),
        (Answer(completion(json.dumps({**CAT, "contrast_caption": DOG.caption}))), "is the caption"),
        (Answer({"error": {"message": "This prompt is too long"}}, 400), "too long"),
        (Answer(b"x" * (connection.LARGEST + 1)), "too large"),
        (Answer(gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"}), "compressed"),
        (Answer(how="cut"), "broke"),
        (Answer(how="break"), "broke"),
        (Answer({"error": {"message": "try later"}}, 503), "busy"),
        (Answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "0"}), "busy"),
        (Answer({"error": {"message": "slow down", "code": 429}}), "busy"),
        (Answer(b"Bad gateway", 502), "busy"),
        (Answer({"error": {"message": "wait"}}, 429, {"Retry-After": "86400"}), "busy"),
        (Answer({}, 302, {"Location": "/v1/elsewhere"}), "elsewhere"),
        (Answer({}, 307, {"Location": "ftp://127.0.0.1/"}), "server"),
    ],
)
def test_every_kind_of_nonsense_is_a_refused_answer(writer_of, server, answer, said):
    server.decide = lambda asked: answer if asked.method == "POST" else None
    assert said in refusal(writer_of())


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_server_that_hangs_is_left(writer_of, server, how):
    server.decide = lambda asked: Answer(how=how)
    assert "no answer in 0.1 s" in refusal(writer_of(timeout=0.1, tries=2))
    assert len(server.chats) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        Answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "0"}),
        Answer(b"", 500),
        Answer(how="cut"),
        Answer(how="break"),
        Answer({"error": {"message": "upstream", "code": 502}}),
    ],
)
def test_what_passes_is_tried_again(writer_of, server, trouble):
    server.then(trouble, times=2)
    writer = writer_of(concurrency=1)
    assert writer.write([DOG])[0].contrasts == (GOOD,)
    assert writer.usage()["retries"] == 2


def test_a_storm_is_waited_out_by_all_together(writer_of, server, monkeypatch):
    """`Retry-After` is of the server: while it lasts nobody asks. Time is that of the test."""
    now, slept = [1000.0], []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds
        await real(0)

    real = asyncio.sleep
    monkeypatch.setattr(connection.asyncio, "sleep", sleep)
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now[0]))
    server.then(Answer({}, 429, {"Retry-After": "30"}), times=1)
    writer = writer_of(concurrency=1)
    assert all(answer.contrasts for answer in writer.write([DOG] * 3))
    assert len(server.chats) == 4
    assert max(slept) >= 30
    assert sum(slept) < 40


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert connection._seconds(header) == seconds


def test_back_off_grows_and_has_an_end(writer_of, server, monkeypatch):
    slept, real = [], asyncio.sleep

    async def sleep(seconds):
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(connection, "FIRST_WAIT", 0.5)
    monkeypatch.setattr(connection.asyncio, "sleep", sleep)
    server.decide = lambda asked: Answer({}, 503)
    assert "busy" in refusal(writer_of(tries=12))
    assert len(slept) == 11
    for number, wait in enumerate(slept):
        assert 0.5 <= wait / min(0.5 * 2**number, connection.MOST_WAIT) <= 1.5


def test_where_all_of_many_fail_the_run_ends(writer_of, server):
    server.decide = lambda asked: Answer({}, 503)
    writer = writer_of(tries=1)
    assert all(answer.refused for answer in writer.write([DOG] * (api.MANY - 1)))
    with pytest.raises(SynvitaError, match="none of many"):
        writer.write([DOG] * api.MANY)
    # Of the requests or the model, and not of the server.
    for answer in (
        Answer({"error": {"message": "too long"}}, 400),
        Answer(completion(refusal="no")),
        Answer(b"<html>"),
    ):
        server.decide = lambda asked, answer=answer: answer
        assert all(answer.refused for answer in writer.write([DOG] * api.MANY))


def test_a_server_that_has_stopped_answering_ends_the_run_early(writer_of, server, monkeypatch):
    """Not each of many requests has all its tries; an answer in between counts anew."""
    monkeypatch.setattr(connection, "LOST_TRIES", 3)
    server.decide = lambda asked: Answer(how="break")
    with pytest.raises(SynvitaError, match="stopped answering"):
        writer_of(concurrency=2, tries=4).write([DOG] * 30)
    assert len(server.chats) < 12
    writer = writer_of(concurrency=1, tries=4)
    for _ in range(4):
        server.then(Answer(how="break"), times=3)
        server.then(Answer())
    server.decide = lambda asked: None
    assert all(answer.contrasts for answer in writer.write([DOG] * 4))


def test_a_server_that_goes_away_ends_the_run_at_once(writer_of):
    with ChatServer() as own:
        writer = writer_of(own.url)
        assert writer.write([DOG])[0].contrasts
    with pytest.raises(SynvitaError, match=r"reached|stopped|none of many"):
        writer.write([DOG] * 40)


# -- before a run starts ----------------------------------------------------------------------------------


def test_no_server(writer_of):
    with ChatServer() as own:
        url = own.url
    with pytest.raises(SynvitaError, match="cannot be reached"):
        writer_of(url, tries=1).check()


def test_no_such_model_names_those_there_are(writer_of, server):
    server.models = ["llama", "qwen"]
    server.decide = lambda asked: Answer({"error": {"message": "The model `tiny` does not exist"}}, 404)
    with pytest.raises(SynvitaError, match="no such model") as caught:
        writer_of().check()
    assert "llama, qwen" in str(caught.value)
    server.lists_models = False
    with pytest.raises(SynvitaError, match="no such address or model"):
        writer_of().check()


def test_an_alias_that_is_not_listed_may_be_used(writer_of, server):
    server.models = ["tiny-2026-01-01"]
    writer_of().check()
    server.lists_models = False
    writer_of().check()


@pytest.mark.parametrize("key", [None, "sk-wrong-0123456789abcdef"])
def test_no_key_or_a_wrong_one(writer_of, server, monkeypatch, key):
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    server.decide = lambda asked: Answer({"error": {"message": "Incorrect API key provided"}}, 401)
    with pytest.raises(SynvitaError, match="does not take the key" if key else "asks for a key") as caught:
        writer_of().check()
    assert ("OPENAI_API_KEY" if key else "SYNVITA_API_KEY") in caught.value.fix
    with pytest.raises(SynvitaError, match="key"):  # nor while it writes
        writer_of().write([DOG])


def test_an_account_without_money_ends_the_run(writer_of, server):
    server.decide = lambda asked: Answer(
        {"error": {"message": "You exceeded", "code": "insufficient_quota"}}, 429
    )
    with pytest.raises(SynvitaError, match="used up"):
        writer_of().write([DOG])
    assert len(server.chats) == 1


@pytest.mark.parametrize(
    "answer", [Answer(b"<html>hello</html>"), Answer(how="hang"), Answer({"error": "no"})]
)
def test_something_else_than_such_a_server(writer_of, server, answer):
    server.decide = lambda asked: answer
    with pytest.raises(SynvitaError, match=r"127\.0\.0\.1"):
        writer_of(timeout=0.1, tries=1).check()


# -- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "url", "host"),
    [
        ("https://api.example.org/v1", "https://api.example.org/v1", "api.example.org"),
        (" https://api.example.org/v1/ ", "https://api.example.org/v1", "api.example.org"),
        ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1", "api.example.org"),
        ("HTTP://LOCALHOST:8000/v1", "http://localhost:8000/v1", "localhost:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1", "[::1]:8000"),
        ("http://10.0.0.7:8000", "http://10.0.0.7:8000", "10.0.0.7:8000"),
    ],
)
def test_addresses(given, url, host):
    found = connection.read_address(given)
    assert (found.url, found.host) == (url, host)
    assert found.private == (not url.startswith("http://10."))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.org/v1",
        "ftp://example.org/v1",
        "file:///etc/passwd",
        "https://user:hunter2pass@example.org/v1",
        "https://hunter2pass@example.org/v1",
        "https://example.org/v1?api_key=hunter2pass",
        "https://exa mple.org/v1",
        "https://example.org:port/v1",
        "https://example.org/v1\nX: y",
        "https://[::1/v1",
        "https://",
    ],
)
def test_addresses_that_are_refused_are_not_shown(url):
    with pytest.raises(SynvitaError, match="address") as caught:
        ApiWriter(url, "tiny")
    assert "hunter2pass" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("model", ["", " tiny", "ti\nny"])
def test_a_model_needs_a_name(model):
    with pytest.raises(SynvitaError, match="no name"):
        ApiWriter("https://example.org/v1", model)


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"timeout": -1},
        {"tries": 0},
        {"price_in": -0.1},
        {"temperature": -1},
        {"max_tokens": 0},
    ],
)
def test_numbers_are_checked(wrong):
    with pytest.raises(SynvitaError, match="out of range"):
        ApiWriter("https://example.org/v1", "tiny", **wrong)


def test_workers_of_other_processes_connect_themselves(writer_of):
    writer = writer_of()
    writer.write([DOG])
    copy = pickle.loads(pickle.dumps(writer))  # noqa: S301 (our own)
    try:
        assert copy.write([DOG])[0].contrasts == (GOOD,)
    finally:
        copy.close()


def test_a_forked_process_connects_itself(writer_of, monkeypatch):
    """A fork has a copy of the connection, without the thread that serves it. (No fork here: of threads it may hang.)"""
    writer = writer_of()
    writer.write([DOG])
    first = writer._server
    monkeypatch.setattr(first, "process", first.process + 1)
    assert writer.write([DOG])[0].contrasts == (GOOD,)
    assert writer._server is not first
    first.close()
