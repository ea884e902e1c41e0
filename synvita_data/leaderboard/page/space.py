"""A Space of the Hub that serves the leaderboard of a results repository: `app.py`, its requirements and its card."""

from pathlib import Path

from ... import __version__
from ...errors import SynvitaError
from ...files import write_atomic
from ...hub.card import make_card

_APP = '''"""The leaderboard of {repository}, served as `synvita leaderboard RESULTS --serve` serves it."""

import os
from pathlib import Path

from huggingface_hub import snapshot_download
from synvita_data.leaderboard.page.serve import ServedBoard, serve

RESULTS = {repository!r}


class Board(ServedBoard):
    """Whose results are those of the repository as it is now."""

    def read(self) -> None:
        folder = snapshot_download(RESULTS, repo_type="dataset", allow_patterns="results/**")
        self.results = Path(folder) / "results"
        super().read()


if __name__ == "__main__":
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    serve(Board(Path("results")), host="0.0.0.0", port=port, say=print)
'''


def write_space(folder: Path, repository: str, *, title: str = "SynViTA leaderboard") -> list[Path]:
    """Write the files of a Space; they replace older ones.

    Args:
        folder: of the Space.
        repository: id of the dataset repository with the results, such as `owner/results`.
        title: of the Space.

    Returns:
        The files.

    Raises:
        SynvitaError: no id of a repository.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repository)
        whole = "/" in repository
    except HFValidationError:
        whole = False
    if not whole:
        raise SynvitaError(
            "this is not the id of a results repository", found=repository, expected="owner/name"
        )
    metadata = {
        "title": title,
        "sdk": "gradio",
        "app_file": "app.py",
        "license": "apache-2.0",
        "datasets": [repository],
    }
    text = (
        f"The leaderboard of [`{repository}`](https://huggingface.co/datasets/{repository}): what cannot be told apart is "
        "not ranked, and every verified number can be computed again from the scores beside it."
    )
    files = {
        "app.py": _APP.format(repository=repository),
        "requirements.txt": f"synvita-data[leaderboard]=={__version__}\n",
        "README.md": make_card(metadata, [f"# {title}", text]),
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]
