"""Write metrics as folders that stand alone, each ready to be published as a Space.

    python -m synvita_data.evaluate_metrics.export FOLDER

This makes FOLDER/entailment_auc and so on, a folder for each of `METRICS`. Each holds the metric's own files and those
of `_shared/`, so that `evaluate.load` and `python app.py` need nothing of this package.
"""

import argparse
import re
import shutil
from pathlib import Path

from . import METRICS

_HERE = Path(__file__).parent
# What stands before a module's name where files of this package import each other:
# `from synvita_data.evaluate_metrics._shared.inputs import …`, `from .._shared.inputs import …`.
_PREFIX = re.compile(r"^from (?:synvita_data\.evaluate_metrics\.\w+|\.\._shared)\.", re.MULTILINE)


def export(name: str, folder: Path) -> Path:
    """Write one metric as a folder that stands alone.

    Args:
        name: one of `METRICS`.
        folder: where the metric's folder is made; files of an earlier export in it are replaced.

    Returns:
        The folder of the metric.
    """
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted(path for place in (name, "_shared") for path in (_HERE / place).glob("[!_]*.*"))
    siblings = [
        path.stem for path in sources if path.suffix == ".py" and path.stem not in (name, "app", "page")
    ]
    for path in sources:
        if path.suffix != ".py":
            shutil.copy(path, target)
            continue
        # The page is a script: it imports its neighbours by their bare names.
        text = _PREFIX.sub("from " if path.stem == "app" else "from .", path.read_text("utf-8"))
        if path.stem == name:
            text += "\n# `evaluate.load` copies only the siblings that this file itself imports.\n"
            text += "".join(f"from .{module} import __name__ as _{module}\n" for module in siblings)
        (target / path.name).write_text(text, "utf-8")
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write each metric as a folder that stands alone.")
    parser.add_argument("folder", type=Path, help="where a folder is made for each metric")
    for metric in METRICS:
        export(metric, parser.parse_args().folder)
