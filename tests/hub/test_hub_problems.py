"""What hub/problems.py makes of errors by itself; test_hub_faults has the same under whole commands."""

import errno
import hashlib
import json
import os

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
)

from synvita_data.errors import HubError, SynvitaError
from synvita_data.hub.problems import (
    HubRequest,
    HubUnreachableError,
    downloading,
    file_of,
    hub_errors,
    hub_problem,
    repository_of,
)
from synvita_data.hub.reach import bound_waits, transport
from synvita_data.models.download import check_weights, check_whole, fetch
from synvita_data.models.resolve import ModelFiles

ADDRESS = "https://hub.example/org/tiny/resolve/main/vae/x%20y.safetensors"


def answer(kind, status, address=ADDRESS, **headers):
    request = transport().Request("GET", address)
    response = transport().Response(
        status, headers={k.replace("_", "-"): v for k, v in headers.items()}, request=request
    )
    return kind(f"{status} Client Error", response=response, server_message="said so.")


def raised(*chain, explicit=True):
    """The last of these errors, each raised from the one before it (or while that was handled)."""
    caught = None
    for error in chain:
        try:
            try:
                if caught is not None:
                    raise caught
            except Exception as inner:
                if explicit:
                    raise error from inner
                raise error  # noqa: B904
            raise error
        except Exception as outer:
            caught = outer
    return caught


def test_files_and_repositories_are_read_from_addresses():
    error = answer(HfHubHTTPError, 503)
    assert (file_of(error), repository_of(error)) == ("vae/x y.safetensors", "org/tiny")
    for address, name in (
        ("https://hub.example/api/models/org/tiny/tree/main", "org/tiny"),
        ("https://hub.example/datasets/org/d/resolve/main/README.md", "org/d"),
        ("https://hub.example/api/datasets/org/d", "org/d"),
    ):
        assert repository_of(answer(HfHubHTTPError, 503, address)) == name
    assert file_of(answer(HfHubHTTPError, 503, "https://hub.example/api/models/org/tiny")) is None
    assert repository_of(ValueError("x")) == "the Hub"


@pytest.mark.parametrize("explicit", [True, False])
def test_the_cause_that_tells_is_found_behind_wrappers(explicit):
    gated = answer(GatedRepoError, 401)
    error = raised(
        gated, LocalEntryNotFoundError("cannot find"), OSError("You are trying to …"), explicit=explicit
    )
    line = str(hub_problem(error, HubRequest("org/tiny", has_token=False)))
    assert line.startswith(
        "org/tiny/vae/x y.safetensors: the model cannot be read: the repository is gated. Found: said so."
    )
    assert "hf auth login" in line
    assert "hf auth login" not in str(hub_problem(error, HubRequest("org/tiny", has_token=True)))


def test_an_optional_file_that_is_absent_explains_nothing_else():
    """transformers looks for files that a repository may lack; what fails afterwards is something else."""
    absent = answer(RemoteEntryNotFoundError, 404)
    assert (
        hub_problem(raised(absent, ValueError("bad settings"), explicit=False), HubRequest("org/tiny"))
        is None
    )
    assert hub_problem(ValueError("bad settings"), HubRequest("org/tiny")) is None
    line = str(hub_problem(raised(absent, OSError("does not appear to have a file")), HubRequest("org/tiny")))
    assert "the repository has no such file" in line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_full_disk(number, tmp_path):
    error = raised(OSError(number, os.strerror(number), str(tmp_path / "x")), RuntimeError("while writing"))
    said = hub_problem(error, HubRequest("org/tiny"))
    assert isinstance(said, HubError)
    assert (said.file, said.found) == (str(tmp_path / "x"), os.strerror(number))


def test_rights_of_the_cache_are_ours_to_explain_and_others_are_not(tmp_path):
    inside = PermissionError(errno.EACCES, "Permission denied", f"{constants.HF_HUB_CACHE}/models--a--b")
    assert "HF_HOME" in str(hub_problem(inside, HubRequest("a/b")))
    outside = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "x"))
    assert hub_problem(outside, HubRequest("a/b")) is None


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (429, {"Retry_After": "30"}, "the Hub asks to wait 30 s"),
        (429, {}, "the Hub asks to wait: too many requests"),
        (429, {"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "the Hub asks to wait: too many requests"),
        (500, {}, "the Hub answered 500"),
        (418, {}, "the Hub answered 418"),
        (412, {}, "somebody else changed the repository"),
    ],
)
def test_answers(status, headers, words):
    assert words in str(hub_problem(answer(HfHubHTTPError, status, **headers), HubRequest("org/tiny")))


def test_what_may_pass_is_told_apart_from_what_will_not():
    unreachable = (
        transport().ConnectError("refused"),
        transport().ReadTimeout("slow"),
        OfflineModeIsEnabled("off"),
    )
    for error in unreachable:
        assert isinstance(hub_problem(error, HubRequest("org/tiny")), HubUnreachableError)
    for status, kind in (
        (503, HubUnreachableError),
        (429, HubUnreachableError),
        (403, HubError),
        (418, HubError),
    ):
        assert type(hub_problem(answer(HfHubHTTPError, status), HubRequest("org/tiny"))) is kind


def test_no_token_and_no_password_is_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "ENDPOINT", "https://me:password@hub.example")
    shown = []
    for error in (
        transport().LocalProtocolError("Illegal header value b'Bearer hf_secret\\x01'"),
        transport().ConnectError("no way to https://me:password@hub.example with hf_secret"),
        answer(GatedRepoError, 403),
    ):
        said = hub_problem(error, HubRequest("org/tiny"))
        shown += [str(said), said.args[0]]
    assert "the token holds characters that none has" in shown[0]
    assert all("hf_secret" not in each and "password" not in each for each in shown), shown


def test_requests_that_may_wait_for_ever_get_a_time(monkeypatch):
    """Also those of a client that somebody else has set; times that are there stay."""
    import huggingface_hub
    from huggingface_hub.utils import _http

    sent = []

    def client():
        def answering(request):
            sent.append(request.extensions["timeout"])
            return transport().Response(200)

        return transport().Client(transport=transport().MockTransport(answering), timeout=None)

    before = _http._GLOBAL_CLIENT_FACTORY
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 7)
    try:
        huggingface_hub.set_client_factory(client)
        bound_waits.cache_clear()
        bound_waits()
        for method, more in (("GET", {}), ("GET", {"timeout": 3}), ("POST", {})):
            huggingface_hub.get_session().request(method, "https://hub.example", **more)
    finally:
        huggingface_hub.set_client_factory(before)
        bound_waits.cache_clear()
    assert [times["read"] for times in sent] == [7, 3, 600]


def test_our_own_errors_go_through_as_they_are():
    mine, other = HubError("mine"), KeyError("x")
    for error in (mine, other):
        with pytest.raises(type(error)) as caught, hub_errors(HubRequest("org/tiny")):
            raise error
        assert caught.value is error


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of one repository whose snapshot points at files called by their SHA-256."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    folder = tmp_path / "models--org--tiny"

    def put(name, content, digest=None):
        blob = folder / "blobs" / (digest or hashlib.sha256(content).hexdigest())
        link = folder / "snapshots" / ("c" * 40) / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(os.path.relpath(blob, link.parent))
        return link

    return put


@pytest.mark.parametrize("fails", [True, False])
def test_all_new_files_that_are_not_whole_are_taken_out(cache, fails):
    old = cache("old.bin", b"old", "0" * 64)  # not compared: it was there
    links = {}

    def download():
        links.update(bad=cache("a.bin", b"a", "1" * 64), good=cache("good.bin", b"good"))
        links.update(worse=cache("sub/b.bin", b"b", "2" * 64), small=cache("config.json", b"{}", "3" * 40))
        if fails:
            raise ValueError("cannot be read")

    with (
        pytest.raises(HubError, match="2 files are not what the Hub announces") as caught,
        downloading(HubRequest("org/tiny", revision="v1")),
    ):
        download()
    assert caught.value.file == "org/tiny@v1/a.bin"
    assert (caught.value.expected, caught.value.found) == (
        "1" * 64,
        f"sha256 {hashlib.sha256(b'a').hexdigest()}",
    )
    assert old.exists()
    assert {name: link.exists() for name, link in links.items()} == {
        "bad": False, "good": True, "worse": False, "small": True,
    }  # fmt: skip
    assert not links["bad"].is_symlink()


@pytest.mark.parametrize("name", ["/no/such/folder", "a/b/c", "../bad name"])
def test_a_name_that_the_hub_cannot_have_is_left_to_the_download(monkeypatch, name):
    monkeypatch.setattr("synvita_data.hub.problems.offline", lambda: False)
    with pytest.raises(KeyError, match="what the download says"), downloading(HubRequest(name)):
        raise KeyError("what the download says")


def test_weights_are_looked_at_before_they_are_loaded(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for name in names:
        save_file({name: np.zeros(100)}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip("ab", names, strict=True))}))
    files = ModelFiles(str(tmp_path))
    assert fetch(files) == files
    content = (tmp_path / names[1]).read_bytes()
    for cut in (0, 4, 50, len(content) - 1):
        (tmp_path / names[1]).write_bytes(content[:cut])
        with pytest.raises(SynvitaError, match="not whole") as caught:
            check_weights(files)
        assert caught.value.file == str(tmp_path / names[1])
    (tmp_path / names[1]).unlink()
    with pytest.raises(SynvitaError, match=f"1 of 2 files of weights. Expected: also {names[1]}"):
        check_weights(files)
    index.write_text("{}")
    with pytest.raises(SynvitaError, match="weight_map"):
        check_weights(files)


def test_what_torch_saved_is_looked_at_too(tmp_path):
    import torch

    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(1000)}, path)
    check_whole(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SynvitaError, match="without the end of a ZIP file"):
        check_weights(ModelFiles(str(tmp_path)))
