"""The models that write: a chat model on this machine (`chat_model`), and one behind a server (`server`)."""

import hashlib
import json
from typing import TYPE_CHECKING

from synvita_data.errors import SynvitaError

if TYPE_CHECKING:
    from ..base import ContrastRequest

# How further candidates are drawn where the first is the likeliest.
TEMPERATURE = 0.8


def check_numbers(**given: float) -> None:
    """Complain about settings of a writer that cannot be: a temperature below 0, any other number below 1.

    Raises:
        SynvitaError: naming it.
    """
    for name, value in given.items():
        least = 0 if name == "temperature" else 1
        if not least <= value < float("inf"):
            raise SynvitaError(f"{name} is out of range", found=value, expected=f"a number from {least}")


def how_drawn(request: "ContrastRequest", candidate: int, temperature: float) -> tuple[int | None, float]:
    """Seed in [0, 2⁶³) and temperature of one candidate of a request, the same wherever it stands.

    Args:
        request: that is answered.
        candidate: its number, from 0.
        temperature: of the writer. With 0 the first candidate is the likeliest answer (no seed), and others are drawn.
    """
    temperature = temperature or (TEMPERATURE if candidate else 0.0)
    if not temperature:
        return None, 0.0
    content = json.dumps([request.seed, request.caption, request.misalignment, candidate])
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") >> 1, temperature
