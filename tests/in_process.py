"""The program, run in this process."""

import sys

from synvita_data.cli import main


def run_program(*arguments) -> int:
    """Run `synvita ARGUMENTS`; its exit status."""
    before, sys.argv = sys.argv, ["synvita", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    finally:
        sys.argv = before
    return 0
