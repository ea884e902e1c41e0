"""A Hugging Face Hub of our own on 127.0.0.1, in memory, for tests only (standard library and PyYAML).

It answers the routes that `huggingface_hub` and `datasets` use for repositories of models, datasets
and Spaces: accounts and tokens, private repositories, commits, branches, tags, LFS uploads, trees,
downloads with ranges. Errors carry the status, headers and words of the real Hub where a client
looks at them. It logs every request and fails on demand, so that a test can prove what was sent and
what happens when a line breaks.

    with LoopbackHub() as hub:
        owner = hub.add_user("synvita")
        hub.fail("upload", nth=3)                     # the third LFS upload loses its connection
        run_client("import huggingface_hub; …", hub, home=tmp_path, token=owner.token)
        hub.requests("commit")

`store.py` is what a Hub holds, `routes.py` one function a route, `server.py` HTTP, tokens, log and
faults, `client.py` starts client processes (HF_ENDPOINT is read when huggingface_hub is imported).
"""

from .client import run_client, run_synvita, start_client
from .server import LoopbackHub
from .store import User

__all__ = ["LoopbackHub", "User", "run_client", "run_synvita", "start_client"]
