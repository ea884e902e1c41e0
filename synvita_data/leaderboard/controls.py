"""Results under a control beside the results that they belong to: how much of a score is there without the video, or
without what the control takes away.

A gap is a difference of two scores, so both must be of one model, asked in one way about the same texts; where anything
else differs there is no gap, and a note says what.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..display import number
from ..video.controls import CONTROLS, asked_but_for_control, differing

if TYPE_CHECKING:
    from .table import Cell


@dataclass(frozen=True, slots=True)
class Gap:
    """A result under a control, in percent.

    Attributes:
        value, low, high, k, n: as of `Cell`.
        gap: the score of the task minus `value`; None where one of them has no value.
        seed: of `shuffle`.
    """

    value: float | None
    low: float | None
    high: float | None
    k: int | None
    n: int | None
    gap: float | None
    seed: int | None = None


def why_no_gap(own: "Cell", control: str, found: "Cell") -> str | None:
    """What keeps a result under a control from standing beside a result of the task, in words; None for nothing.

    Args:
        own: the result of the task.
        control: of `CONTROLS`.
        found: the result under it.
    """
    watches = control != "text"
    return differing(_asked(own, watches=watches), _asked(found, watches=watches))


def gap_of(own: "Cell", found: "Cell") -> Gap:
    """The two beside each other."""
    values = own.value, found.value
    gap = None if values[0] is None or values[1] is None else values[0] - values[1]
    seed = found.details.get("model", {}).get("settings", {}).get("control_seed")
    return Gap(found.value, found.low, found.high, found.k, found.n, gap, seed)


def add_gaps(
    cells: Iterable["Cell"], found: Iterable[tuple[str, "Cell"]], label: str, notes: list[str]
) -> None:
    """Put results under controls beside the results of the same task and model that they belong to.

    Args:
        cells: results of one task and model; `controls` of those that match are filled in.
        found: names of controls, with the results under them.
        label: of the model and task, for notes.
        notes: takes a sentence on each result that stands beside nothing, or in whose place stands another.
    """
    own = list(cells)
    for control, result in found:
        reasons = [why_no_gap(cell, control, result) for cell in own]
        for cell, reason in zip(own, reasons, strict=True):
            if reason is None and control in cell.controls:
                notes.append(f"{label}: several results under the control {control}, one of which is shown")
            elif reason is None:
                cell.controls[control] = gap_of(cell, result)
        if None not in reasons:
            why = min(
                (reason for reason in reasons if reason), key=len, default="no result of the task itself"
            )
            notes.append(f"{label}: no gap to the control {control}: {why}")


def gap_parts(controls: Mapping[str, Gap]) -> list[str]:
    """`Δ frame +12.34`, a text a control."""
    return [f"Δ {name} " + number(controls[name].gap, "+.2f") for name in CONTROLS if name in controls]


def _asked(cell: "Cell", *, watches: bool) -> dict[str, Any]:
    """What a score depends on but for the control, by name."""
    texts = {"number of scored texts": cell.k, "number of texts": cell.n, "annotations": cell.annotations}
    return texts | asked_but_for_control(
        cell.details.get("model", {}), cell.details.get("frames"), watches=watches
    )
