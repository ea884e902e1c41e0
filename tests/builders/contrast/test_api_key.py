"""The key of a server is sent to that server and is found nowhere else, whatever the server does with it."""

import json
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest
from chat_server import CAT, Answer, ChatServer, completion
from hypothesis import given
from hypothesis import strategies as st

from synvita_data.builders.contrast.api import ApiWriter
from synvita_data.builders.contrast.base import ContrastRequest
from synvita_data.builders.contrast.models import server as connection
from synvita_data.builders.contrast.models.server import HIDDEN, Key
from synvita_data.errors import SynvitaError, causes

KEY = "sk-proj-Zq8+vN4/tY7wR2xL5pD9"  # one that an address writes otherwise
PIECES = [KEY[start : start + 8] for start in range(len(KEY) - 7)]
DOG = ContrastRequest("a dog runs on the beach", "object", candidates=2)


def holds_key(text):
    return any(piece in text for piece in PIECES) or quote(KEY, safe="") in text


@pytest.fixture(autouse=True)
def the_key(monkeypatch):
    monkeypatch.setenv("SYNVITA_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one-0123456789")
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.001)


@pytest.fixture
def server():
    with ChatServer() as made:
        yield made


def trace_of(error):
    """Frames of the product with the values in them, as some handlers show them; a test's own hold the key."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in told.stack if "/tests/" not in frame.filename]
    return [f"{frame.filename}:{frame.lineno} {frame.line} {frame.locals}" for frame in frames]


def everything_of(error):
    """An error as any handler may show it: with its causes, and what `raise … from None` hides but keeps."""
    chain, shown = [*causes(error)], [json.dumps(error.to_record())]
    for each in chain:
        chain += [other for other in (each.__context__, each.__cause__) if other and other not in chain]
        shown += [str(each), repr(each), repr(vars(each)), *trace_of(each)]
    return "\n".join(shown)


ECHOES = {
    "a 401 that repeats it": Answer({"error": {"message": f"Incorrect API key provided: {KEY}."}}, 401),
    "a part of it": Answer(
        {"error": {"message": f"Incorrect API key provided: {KEY[:12]}***{KEY[-9:]}."}}, 403
    ),
    "a 400": Answer({"error": {"message": f"headers: Authorization: Bearer {KEY}", "code": KEY}}, 400),
    "a 404": Answer({"error": {"message": f"no model for {KEY}"}}, 404),
    "a busy server": Answer({"error": {"message": f"{KEY} has no room"}}, 503),
    "a used up account": Answer({"error": {"message": f"{KEY} is empty", "code": "insufficient_quota"}}, 429),
    "an error inside": Answer({"error": {"message": f"key {KEY}"}}),
    "a page": Answer(f"<html><body>{'padding ' * 20}{KEY}</body></html>".encode()),
    "a page in an address": Answer(
        f"<html><a href='/?key={quote(KEY, safe='')}'>{KEY}</a></html>".encode(), 500
    ),
    "no message": Answer({KEY: KEY}),
    "a refusal": Answer(completion("", refusal=f"not for {KEY}")),
    "an answer": Answer(completion(json.dumps({**CAT, "contrast_caption": f"a cat with {KEY} runs"}))),
    "an answer in lines": Answer(completion(f"Authorization: Bearer {KEY}\nContrast caption: a cat runs")),
    "an answer with a part": Answer(completion(json.dumps({**CAT, "explanation": f"It is {KEY[3:15]}."}))),
    "headers": Answer({}, 503, {"X-Echo": f"Bearer {KEY}", "Set-Cookie": f"key={KEY}"}),
    "a header of a whole answer": Answer(completion(), headers={"X-Echo": KEY}),
    "a redirect": Answer({}, 307, {"Location": f"/v1/{KEY}/chat/completions"}),
    "a redirect to nowhere": Answer({}, 307, {"Location": f"http://127.0.0.1:9/?key={quote(KEY, safe='')}"}),
    "a redirect that is none": Answer({}, 307, {"Location": f"gopher://{KEY}/"}),
    "a redirect of a form": Answer({}, 302, {"Location": f"/v1/models?key={KEY}"}),
    "a length that is none": Answer({}, 200, {"Transfer-Encoding": KEY}),
}


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
def test_the_key_reaches_nothing(server, answer, caplog, capfd, monkeypatch):
    caplog.set_level(logging.DEBUG)
    server.decide = lambda asked: answer if asked.method == "POST" and KEY not in asked.path else None
    server.models = ["tiny", f"model-of-{KEY}"]
    writer = ApiWriter(server.url, "tiny", timeout=20, tries=2, price_in=1.0)
    shown = []
    try:
        for work in (writer.check, lambda: writer.write([DOG]), lambda: writer.write([DOG, DOG])):
            try:
                shown.append(repr(work()))
            except SynvitaError as error:
                shown.append(everything_of(error))
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"  # it was sent
        shown += [
            repr(writer),
            repr(vars(writer)),
            repr(vars(writer._connected())),
            json.dumps(dict(writer.record())),
            json.dumps(writer.usage()),
            pickle.dumps(writer).decode("latin-1"),
            "\n".join(f"{record.name} {record.getMessage()} {record.args}" for record in caplog.records),
            caplog.text,
            *capfd.readouterr(),
        ]
    finally:
        writer.close()
    assert any(record.name.startswith("httpcore") for record in caplog.records)  # which tell what comes back
    found = [line for text in shown for line in text.splitlines() if holds_key(line)]
    assert found == []


def test_no_such_model_does_not_list_the_key(server):
    server.models = [f"model-of-{KEY}"]
    server.decide = lambda asked: Answer({"error": {"message": "none"}}, 404)
    writer = ApiWriter(server.url, "tiny")
    with pytest.raises(SynvitaError, match="no such model") as caught:
        writer.check()
    writer.close()
    assert HIDDEN in str(caught.value)
    assert not holds_key(everything_of(caught.value))


def test_another_host_gets_the_request_without_the_key(server):
    with ChatServer() as other:
        elsewhere = other.url.replace("/v1", "/v1/chat/completions")
        server.decide = lambda asked: Answer({}, 307, {"Location": elsewhere})
        writer = ApiWriter(server.url, "tiny")
        (answer,) = writer.write([DOG])
        writer.close()
    assert answer.contrasts
    assert {asked.headers["authorization"] for asked in server.chats} == {f"Bearer {KEY}"}
    assert other.chats
    assert all("authorization" not in {name.lower() for name in asked.headers} for asked in other.asked)
    assert not holds_key(repr(other.asked))


def test_a_redirect_on_the_same_host_keeps_it(server):
    server.decide = lambda asked: (
        Answer({}, 308, {"Location": "/other/chat/completions"}) if asked.path.startswith("/v1") else None
    )
    writer = ApiWriter(server.url, "tiny")
    assert writer.write([DOG])[0].contrasts
    writer.close()
    assert {asked.headers["authorization"] for asked in server.chats} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "url", ["http://example.org/v1", "http://10.0.0.7:8000/v1", "http://127.0.0.1.example.org/v1"]
)
def test_it_is_never_sent_where_others_can_listen(url):
    writer = ApiWriter(url, "tiny")
    with pytest.raises(SynvitaError, match="others can read") as caught:
        writer.check()
    assert not holds_key(everything_of(caught.value))


def test_the_first_that_is_set_is_taken(monkeypatch):
    assert Key.of_environment().name == "SYNVITA_API_KEY"
    monkeypatch.setenv("SYNVITA_API_KEY", " ")
    assert Key.of_environment().name == "OPENAI_API_KEY"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert not Key.of_environment()
    assert Key(None).hidden("a text") == "a text"


def test_a_key_that_is_none_is_not_shown(monkeypatch):
    monkeypatch.setenv("SYNVITA_API_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(SynvitaError, match="cannot be sent") as caught:
        Key.of_environment()
    assert not holds_key(everything_of(caught.value))


def test_a_key_is_not_pickled():
    with pytest.raises(TypeError, match="environment"):
        pickle.dumps(Key(KEY))


def test_a_placeholder_is_no_secret(server, monkeypatch):
    """Servers without keys are given any word, which captions may hold."""
    monkeypatch.setenv("SYNVITA_API_KEY", "dog")
    writer = ApiWriter(server.url, "tiny")
    assert writer.write([DOG])[0].contrasts[0].nle == "It is a dog, not a cat."
    writer.close()


@given(st.text(alphabet="ab-+/%. ", max_size=60), st.text(alphabet="ab-+/", min_size=8, max_size=24))
def test_no_piece_of_a_key_is_left(text, key):
    """Whatever stands around and between; what is no piece of the key stays."""
    assume_text = f"{text}{key}{text[::-1]}{key[2:]}{quote(key, safe='')}"
    hidden = Key(key).hidden(assume_text)
    assert not any(key[start : start + 8] in hidden for start in range(len(key) - 7))
    assert quote(key, safe="") not in hidden
    assert Key(key).hidden("nothing of it, 123") == "nothing of it, 123"
