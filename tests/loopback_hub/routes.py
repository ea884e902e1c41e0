"""One function a route: it takes the Hub and the request, and returns what to send or raises `ApiError`.

Parameters after the first two are the named groups of the route's pattern in `ROUTES`, unquoted.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import yaml

from .store import PREFIXES, ApiError, Commit, File, Pull, Repo, User, folders, parameters, upload_mode

if TYPE_CHECKING:
    from .server import LoopbackHub


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    user: User | None
    base: str
    target: str  # as it stood in the request line, with its query

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Reply:
    content: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "application/json"

    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


# Accounts and repositories -----------------------------------------------------------------------


def whoami(hub: "LoopbackHub", request: Request) -> Reply:
    user = request.user
    if user is None:
        raise ApiError(401, "Invalid username or password.")
    token = {"displayName": "test", "role": user.role}
    return Reply(
        {
            "type": "user",
            "id": user.name,
            "name": user.name,
            "fullname": user.name,
            "orgs": [{"type": "org", "name": org, "roleInOrg": user.role} for org in user.orgs],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def validate_yaml(hub: "LoopbackHub", request: Request) -> Reply:
    try:
        _card_data(request.json()["content"])
    except yaml.YAMLError as error:
        return Reply({"errors": [{"message": str(error)}], "warnings": []}, status=400)
    return Reply({"errors": [], "warnings": []})


def create_repo(hub: "LoopbackHub", request: Request) -> Reply:
    wanted = request.json()
    user = hub.require_user(request)
    repo_id = f"{wanted.get('organization') or user.name}/{wanted['name']}"
    kind = wanted.get("type") or "model"
    if user.role != "write" or not user.owns(repo_id):
        owner = repo_id.split("/")[0]
        raise ApiError(
            403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"', "Forbidden"
        )
    if (kind, repo_id) in hub.repos:
        url = request.base + hub.repos[kind, repo_id].url_path
        return Reply({"error": f"You already created this {kind} repo", "url": url}, status=409)
    private = wanted.get(
        "private", wanted.get("visibility") == "private"
    )  # the former until huggingface_hub 2
    repo = Repo(repo_id, kind, private=bool(private), sdk=wanted.get("sdk"))
    hub.repos[kind, repo_id] = repo
    return Reply({"url": request.base + repo.url_path, "name": repo_id})


def delete_repo(hub: "LoopbackHub", request: Request) -> Reply:
    wanted = request.json()
    owner = wanted.get("organization") or hub.require_user(request).name
    repo = hub.repo(request, wanted.get("type") or "model", f"{owner}/{wanted['name']}", write=True)
    del hub.repos[repo.kind, repo.id]
    return Reply({})


def list_repos(hub: "LoopbackHub", request: Request, kind: str) -> Reply:
    found = [
        repo for (of, _), repo in sorted(hub.repos.items()) if of == kind and hub.may_read(request, repo)
    ]
    if author := request.query.get("author"):
        found = [repo for repo in found if repo.id.startswith(f"{author}/")]
    return Reply([_describe(repo, repo.resolve("main")) for repo in found])


def settings(hub: "LoopbackHub", request: Request, kind: str, repo: str) -> Reply:
    found, wanted = hub.repo(request, kind, repo, write=True), request.json()
    if "visibility" in wanted or "private" in wanted:
        found.private = wanted.get("private", wanted.get("visibility") == "private")
    return Reply({"private": found.private})


def repo_info(
    hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str | None = None
) -> Reply:
    """What a repository is; anyone may ask it of a gated one. `blobs=true` adds sizes and digests of files."""
    found = hub.repo(request, kind, repo)
    blobs = request.query.get("blobs", "false").lower() == "true"
    return Reply(_describe(found, found.resolve(revision or "main"), blobs=blobs))


def _describe(repo: Repo, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
    readme = commit.tree.get("README.md")
    config = commit.tree.get("config.json")
    counts = parameters(commit.tree)
    described = {
        "_id": hashlib.sha1(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.id.split("/")[0],
        "sha": commit.sha,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "cardData": _card_data(readme.content.decode()) if readme else {},
        "createdAt": repo.history("main")[-1].date,
        "lastModified": commit.date,
        "siblings": [_sibling(path, file, blobs) for path, file in sorted(commit.tree.items())],
        "usedStorage": sum(file.size for file in commit.tree.values()),
        **({"sdk": repo.sdk} if repo.sdk else {}),
        **({"safetensors": {"parameters": counts, "total": sum(counts.values())}} if counts else {}),
    }
    if config is not None and repo.kind == "model":
        described["config"] = _hub_config(config)
    return json.loads(json.dumps(described, default=str))  # YAML has dates, JSON has not


def _sibling(path: str, file: File, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    entry = {"rfilename": path, "blobId": file.blob_id, "size": file.size}
    return entry | ({"lfs": _lfs(file)} if file.lfs else {})


def _hub_config(config: File) -> dict[str, Any]:
    """The few fields of a model's settings that the Hub repeats."""
    try:
        settings = json.loads(config.content)
    except ValueError:
        return {}
    return {name: settings[name] for name in ("architectures", "model_type") if name in settings}


def _card_data(readme: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---", readme, re.DOTALL)
    return (yaml.safe_load(found[1]) or {}) if found else {}


# References --------------------------------------------------------------------------------------


def refs(hub: "LoopbackHub", request: Request, kind: str, repo: str) -> Reply:
    found = hub.repo(request, kind, repo)

    def listing(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": sha} for n, sha in names.items()]

    return Reply(
        {"branches": listing(found.branches, "heads"), "tags": listing(found.tags, "tags"), "converts": []}
    )


def create_tag(hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str) -> Reply:
    found = hub.repo(request, kind, repo, write=True)
    return _create_ref(found.tags, request.json()["tag"], found.resolve(revision))


def create_branch(hub: "LoopbackHub", request: Request, kind: str, repo: str, name: str) -> Reply:
    found = hub.repo(request, kind, repo, write=True)
    return _create_ref(found.branches, name, found.resolve(request.json().get("startingPoint") or "main"))


def _create_ref(names: dict[str, str], name: str, commit: Commit) -> Reply:
    if name in names:
        raise ApiError(409, f"Reference already exists: {name}", "Conflict")
    names[name] = commit.sha
    return Reply({})


def delete_tag(hub: "LoopbackHub", request: Request, kind: str, repo: str, name: str) -> Reply:
    return _delete_ref(hub.repo(request, kind, repo, write=True).tags, name)


def delete_branch(hub: "LoopbackHub", request: Request, kind: str, repo: str, name: str) -> Reply:
    return _delete_ref(hub.repo(request, kind, repo, write=True).branches, name)


def _delete_ref(names: dict[str, str], name: str) -> Reply:
    if names.pop(name, None) is None:
        raise ApiError(404, f"Invalid rev id: {name}", "RevisionNotFound")
    return Reply({})


def commits(hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str) -> Reply:
    history = hub.repo(request, kind, repo).history(revision)
    return Reply(
        [{"id": c.sha, "title": c.title, "message": "", "date": c.date, "authors": []} for c in history]
    )


# Uploads -----------------------------------------------------------------------------------------


def preupload(hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str) -> Reply:
    tree = _contributed(hub, request, kind, repo).resolve(revision).tree
    answer = []
    for file in request.json()["files"]:
        mode = upload_mode(file["path"], file["size"], base64.b64decode(file.get("sample") or ""))
        entry = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
        if known := tree.get(file["path"]):
            entry["oid"] = known.etag
        answer.append(entry)
    return Reply({"files": answer})


def lfs_batch(hub: "LoopbackHub", request: Request, prefix: str, repo: str) -> Reply:
    """Upload addresses for the objects that this repository does not hold yet.

    As on the real Hub an address is signed: the upload itself carries no token.
    """
    found = _contributed(hub, request, PREFIXES[prefix], repo, always=True)
    objects = []
    for wanted in request.json()["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in found.objects:
            ticket = secrets.token_hex(8)
            hub.tickets[ticket] = (found, wanted["oid"])
            answer["actions"] = {"upload": {"href": f"{request.base}/lfs/{ticket}/{wanted['oid']}"}}
        objects.append(answer)
    return Reply({"transfer": "basic", "objects": objects}, type="application/vnd.git-lfs+json")


def lfs_upload(hub: "LoopbackHub", request: Request, ticket: str, oid: str) -> Reply:
    repo, expected = hub.tickets.get(ticket, (None, None))
    if repo is None or expected != oid:
        raise ApiError(403, "Request has expired")
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise ApiError(400, "The content does not have the announced SHA-256")
    repo.objects[oid] = request.body
    return Reply(headers={"ETag": f'"{oid}"'})


def _contributed(hub: "LoopbackHub", request: Request, kind: str, repo: str, *, always: bool = False) -> Repo:
    """A repository to send something to: one's own, or for a pull request anyone's that one may read.

    Large files are sent before the Hub knows for what (`always`).
    """
    pull = always or request.query.get("create_pr", "") in ("1", "true")
    user = hub.require_user(request)
    if pull and user.role != "write":
        raise ApiError(403, "Forbidden: the token may only read", "Forbidden")
    return hub.repo(request, kind, repo, write=not pull)


def commit(hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str) -> Reply:
    """Files added to and removed from a branch, or from `main` in a pull request of its own (`create_pr=1`)."""
    found = _contributed(hub, request, kind, repo)
    if revision not in found.branches:
        raise ApiError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    header, *operations = (json.loads(line) for line in request.body.splitlines() if line.strip())
    head, value = found.branches[revision], header["value"]
    pull = request.query.get("create_pr", "") in ("1", "true")
    parent = value.get("parentCommit") or head
    if parent != head and not (pull and parent in found.commits):
        raise ApiError(
            412, "A commit has happened since. Please refresh and try again.", "PreconditionFailed"
        )
    tree = dict(found.commits[parent].tree)
    for operation in operations:
        _apply(found, tree, operation["key"], operation["value"])
    if pull:
        author = hub.require_user(request).name
        made = found.open_pull(tree, value["summary"], value.get("description", ""), author, parent)
        page = f"{request.base}{found.url_path}/discussions/{made.number}"
        url = f"{request.base}{found.url_path}/commit/{made.head}"
        return Reply(
            {
                "success": True,
                "commitOid": made.head,
                "commitUrl": url,
                "pullRequestUrl": page,
                "hookOutput": "",
            }
        )
    done = found.commit(tree, value["summary"], revision)
    url = f"{request.base}{found.url_path}/commit/{done.sha}"
    return Reply({"success": True, "commitOid": done.sha, "commitUrl": url, "hookOutput": ""})


def _apply(repo: Repo, tree: dict[str, File], key: str, value: dict[str, Any]) -> None:
    path = value["path"]
    if key == "file":
        tree[path] = File(base64.b64decode(value["content"]), lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in repo.objects:
            raise ApiError(400, f"LFS object {value['oid']} of {path} was not uploaded", "LfsMissing")
        tree[path] = File(repo.objects[value["oid"]], lfs=True)
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise ApiError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    elif key == "deletedFolder":
        for inside in [known for known in tree if known.startswith(path.rstrip("/") + "/")]:
            del tree[inside]
    else:
        raise ApiError(400, f"Unknown operation: {key}")


# Pull requests -----------------------------------------------------------------------------------


def discussions(hub: "LoopbackHub", request: Request, kind: str, repo: str) -> Reply:
    """Pull requests, the newest first, in pages of `hub.page_size`; there are no other discussions here."""
    found = hub.repo(request, kind, repo)
    wanted, author = request.query.get("status"), request.query.get("author")
    pulls = [
        pull
        for _, pull in sorted(found.pulls.items(), reverse=True)
        if wanted in (None, pull.status) and author in (None, pull.author)
    ]
    start = int(request.query.get("p", 0)) * hub.page_size
    page = [_discussion(found, pull) for pull in pulls[start : start + hub.page_size]]
    return Reply({"count": len(pulls), "start": start, "discussions": page})


def discussion(hub: "LoopbackHub", request: Request, kind: str, repo: str, number: str) -> Reply:
    found = hub.repo(request, kind, repo)
    pull = _pull(found, number)
    more = {
        "changes": {"base": "refs/heads/main"},
        "filesWithConflicts": [],
        "events": pull.events,
        "diff": "",
    }
    return Reply(_discussion(found, pull) | more)


def comment(hub: "LoopbackHub", request: Request, kind: str, repo: str, number: str) -> Reply:
    """Anyone with a token that may write may comment."""
    user, found = hub.require_user(request), hub.repo(request, kind, repo)
    if user.role != "write":
        raise ApiError(403, "Forbidden: the token may only read", "Forbidden")
    return Reply({"newMessage": _pull(found, number).add_comment(user.name, request.json()["comment"])})


def _pull(repo: Repo, number: str) -> Pull:
    pull = repo.pulls.get(int(number))
    if pull is None:
        raise ApiError(404, "Discussion not found", "EntryNotFound")
    return pull


def _discussion(repo: Repo, pull: Pull) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "author": {"name": pull.author},
        "createdAt": pull.created,
        "status": pull.status,
        "isPullRequest": True,
        "repo": {"name": repo.id, "type": repo.kind},
    }


# Reading -----------------------------------------------------------------------------------------


def tree(hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str, path: str = "") -> Reply:
    """Entries under `path`, one level or all, in pages of `hub.page_size`, the next in a Link header."""
    files = hub.repo(request, kind, repo).resolve(revision).tree
    prefix = f"{path.rstrip('/')}/" if path else ""
    inside = {known: file for known, file in sorted(files.items()) if known.startswith(prefix)}
    if path in files:
        inside = {path: files[path]}
    elif prefix and not inside:
        raise ApiError(404, f"{path} does not exist", "EntryNotFound")
    recursive = request.query.get("recursive", "false").lower() == "true"
    entries = [_folder(name) for name in folders(inside) if name.startswith(prefix)]
    entries += [_entry(name, file) for name, file in inside.items()]
    if not recursive:
        entries = [entry for entry in entries if "/" not in entry["path"][len(prefix) :]]
    start = int(request.query.get("cursor", 0))
    page, rest = entries[start : start + hub.page_size], entries[start + hub.page_size :]
    headers = {}
    if rest:
        query = f"recursive={recursive}&cursor={start + hub.page_size}"
        headers["Link"] = f'<{request.base}{request.path}?{query}>; rel="next"'
    return Reply(page, headers=headers)


def paths_info(hub: "LoopbackHub", request: Request, kind: str, repo: str, revision: str) -> Reply:
    files = hub.repo(request, kind, repo).resolve(revision).tree
    if request.body[:1] == b"{":
        wanted = request.json()["paths"]
    else:
        wanted = parse_qs(request.body.decode()).get("paths", [])
    known_folders = set(folders(files))
    return Reply(
        [
            _entry(path, files[path]) if path in files else _folder(path)
            for path in wanted
            if path in files or path in known_folders
        ]
    )


def _entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.blob_id}
    if file.lfs:
        entry["lfs"] = {"oid": file.sha256, **_lfs(file)}
    return entry


def _lfs(file: File) -> dict[str, Any]:
    return {"sha256": file.sha256, "size": file.size, "pointerSize": 134}


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


def download(hub: "LoopbackHub", request: Request, prefix: str, repo: str, revision: str, path: str) -> Reply:
    """A file, or the bytes of a `Range` header. The real Hub redirects to a CDN for large files."""
    of = hub.repo(request, PREFIXES[prefix], repo)
    hub.check_gate(request, of)
    found = of.resolve(revision)
    file = found.tree.get(path)
    if file is None:
        raise ApiError(404, "Entry not found", "EntryNotFound")
    headers = {"X-Repo-Commit": found.sha, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    if file.lfs:
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.etag}"'}
    binary = "application/octet-stream"
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if not wanted or wanted.groups() == ("", ""):
        return Reply(file.content, headers=headers, type=binary)
    if wanted[1]:
        first, last = int(wanted[1]), min(int(wanted[2] or file.size), file.size - 1)
    else:  # `bytes=-n`: the last n
        first, last = max(0, file.size - int(wanted[2])), file.size - 1
    if first > last:
        return Reply(status=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    return Reply(file.content[first : last + 1], 206, headers, binary)


@dataclass(frozen=True)
class Route:
    name: str
    method: str
    pattern: re.Pattern[str]
    answer: Callable[..., Reply]


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_REPO}"
_FILES = rf"/(?P<prefix>datasets/|spaces/|){_REPO}"


def _route(name: str, method: str, pattern: str, answer: Callable[..., Reply]) -> Route:
    return Route(name, method, re.compile(pattern), answer)


ROUTES = (
    _route("whoami", "GET", r"/api/whoami-v2", whoami),
    _route("validate-yaml", "POST", r"/api/validate-yaml", validate_yaml),
    _route("create", "POST", r"/api/repos/create", create_repo),
    _route("delete", "DELETE", r"/api/repos/delete", delete_repo),
    _route("list", "GET", r"/api/(?P<kind>model|dataset|space)s", list_repos),
    _route("info", "GET", rf"{_API}", repo_info),
    _route("info", "GET", rf"{_API}/revision/(?P<revision>[^/]+)", repo_info),
    _route("settings", "PUT", rf"{_API}/settings", settings),
    _route("refs", "GET", rf"{_API}/refs", refs),
    _route("tag", "POST", rf"{_API}/tag/(?P<revision>[^/]+)", create_tag),
    _route("delete-tag", "DELETE", rf"{_API}/tag/(?P<name>[^/]+)", delete_tag),
    _route("branch", "POST", rf"{_API}/branch/(?P<name>[^/]+)", create_branch),
    _route("delete-branch", "DELETE", rf"{_API}/branch/(?P<name>[^/]+)", delete_branch),
    _route("commits", "GET", rf"{_API}/commits/(?P<revision>[^/]+)", commits),
    _route("preupload", "POST", rf"{_API}/preupload/(?P<revision>[^/]+)", preupload),
    _route("lfs-batch", "POST", rf"{_FILES}\.git/info/lfs/objects/batch", lfs_batch),
    _route("upload", "PUT", r"/lfs/(?P<ticket>[0-9a-f]{16})/(?P<oid>[0-9a-f]{64})", lfs_upload),
    _route("commit", "POST", rf"{_API}/commit/(?P<revision>[^/]+)", commit),
    _route("discussions", "GET", rf"{_API}/discussions", discussions),
    _route("discussion", "GET", rf"{_API}/discussions/(?P<number>[0-9]+)", discussion),
    _route("comment", "POST", rf"{_API}/discussions/(?P<number>[0-9]+)/comment", comment),
    _route("tree", "GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", tree),
    _route("paths-info", "POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", paths_info),
    _route("download", "GET", rf"{_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", download),
)
