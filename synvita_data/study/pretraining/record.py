"""The record beside a pre-trained state: whether a model knows the world it is shown."""

from synvita_data.builders.shapes import Geometry
from synvita_data.errors import SynvitaError
from synvita_data.files import read_json
from synvita_data.models.resolve import ModelFiles, find_checkpoint

RECORD = "pretraining.json"


def check_world(model: str, geometry: Geometry) -> None:
    """Complain about a model that was pre-trained on another version of the shapes world.

    Args:
        model: the name of a model or an adapter. One that was not made here is taken as it is.
        geometry: of the clips that it shall look at.

    Raises:
        SynvitaError: another version. Whatever `find_checkpoint` finds.
    """
    files = ModelFiles(find_checkpoint(model).base)
    if files.folder is None or (path := files.find(RECORD)) is None:
        return
    version = read_json(path, "the record of a pre-training").get("world")
    if version != geometry.version:
        raise SynvitaError(
            "a model was pre-trained on another version of the shapes world",
            file=model,
            found=f"version {version}",
            expected=f"version {geometry.version}, as the clips are",
            fix="Render clips of its version, or make it again: python -m synvita_data.study.pretraining --out DIR",
        )
