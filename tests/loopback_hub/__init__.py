"""A Hugging Face Hub of our own on 127.0.0.1, in memory, for tests only (standard library and PyYAML).

It answers the routes that `huggingface_hub` and `datasets` use for repositories of models, datasets
and Spaces: accounts and tokens, private repositories, commits, branches, tags, LFS uploads, trees,
downloads with ranges, gates, redirects of renamed repositories. Errors carry the status, headers and words of the real Hub where a client
looks at them. It logs every request and fails on demand, so that a test can prove what was sent and
what happens when a line breaks.

    with LoopbackHub() as hub:
        owner = hub.add_user("synvita")
        hub.fail("upload", nth=3)                     # the third LFS upload loses its connection
        run_client("import huggingface_hub; …", hub, home=tmp_path, token=owner.token)
        hub.requests("commit")

It serves what a test has in a folder as a model or a dataset, gated, renamed or with faults:

        hub.serve("org/tiny", folder, sha="c" * 40)                            # a model
        hub.serve("org/videos", folder, kind="dataset", gated="manual")        # files only after `accept`
        hub.rename("org/tiny", "new/tiny")                                     # 307 from the old name
        hub.fail("download", how="cut", path="*.safetensors", times=99)        # a line that always breaks
        hub.fail("info", how=429, times=99, headers={"Retry-After": "30"})

`store.py` is what a Hub holds, `routes.py` one function a route, `server.py` HTTP, tokens, log and
faults, `client.py` starts client processes (HF_ENDPOINT is read when huggingface_hub is imported), `forked.py` forks them.
"""

from .client import run_client, run_synvita, start_client
from .server import LoopbackHub
from .store import User

__all__ = ["LoopbackHub", "User", "run_client", "run_synvita", "start_client"]
