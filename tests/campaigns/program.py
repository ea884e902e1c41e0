"""The program in this process, whose own bugs come out as the exceptions they are."""

from typing import Any, NoReturn

import in_process

from synvita_data import crash


def run_program(*arguments: object) -> int:
    """Run `synvita ARGUMENTS`; its exit status.

    Raises:
        Exception: what is neither the user's fault nor the machine's: the program would write a report of it.
    """
    crash._write_report = _raise  # type: ignore[assignment]
    return in_process.run_program(*arguments)


def _raise(error: Exception, arguments: Any) -> NoReturn:
    raise error
