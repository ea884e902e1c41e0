"""The paper's Table 3: AUC, mAP and accuracy in percent, to the digits that are printed."""

from dataclasses import dataclass

COLUMNS = (
    "videocon-llm",
    "videocon-human",
    "videocon-human-hard",
    "ssv2-temporal",
    "ssv2-events",
    "atp-hard",
)
SOURCE = "Zanella et al., Can Text-to-Video Generation help Video-Language Alignment?, CVPR 2025, Table 3"


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One number of the paper.

    Attributes:
        model: as the paper names it.
        task: as `Task.name`.
        value: percent.
        digits: decimals that are printed (the paper copies older results with one).
        reproduced: marked * in the paper: run again by its authors rather than copied.
    """

    model: str
    task: str
    value: float
    digits: int
    reproduced: bool


# Model, marked *, then the six columns as printed; None where the paper has no number.
_TABLE: tuple[tuple[str, bool, tuple[str | None, ...]], ...] = (
    ("VideoCLIP", False, ("53.2", "47.3", "47.5", "9.8", "6.4", "23.4")),
    ("ImageBind (video-text)", False, ("57.1", "65.2", "63.0", "10.5", "5.5", "25.4")),
    ("TACT", False, (None, None, None, None, "7.8", "27.6")),
    ("VFC", False, (None, None, None, None, None, "31.4")),
    ("End-to-End VNLI", False, ("67.0", "72.4", "65.0", "14.6", "10.4", "39.0")),
    ("mPLUG-Owl 7B", False, ("57.24", "67.02", "64.39", "11.08", "6.75", "37.96")),
    ("Video-LLaVA", False, ("62.98", "70.37", "65.99", "11.64", "7.11", "38.56")),
    ("VideoCon (mPLUG-Owl 7B)", True, ("88.39", "77.16", "74.76", "13.00", "10.37", "35.46")),
    ("VideoCon (Video-LLaVA)", False, ("85.86", "80.09", "75.74", "19.77", "10.01", "38.76")),
    ("SynViTA (mPLUG-Owl 7B)", False, ("86.45", "77.48", "74.54", "17.32", "12.54", "37.31")),
    ("SynViTA (Video-LLaVA)", False, ("85.43", "80.86", "76.86", "20.10", "11.21", "39.88")),
)

MODELS = tuple(model for model, _, _ in _TABLE)


def published_results(task: str) -> tuple[PublishedResult, ...]:
    """The paper's numbers for one task, in the paper's order; empty for a task that is not in it."""
    if task not in COLUMNS:
        return ()
    column = COLUMNS.index(task)
    return tuple(
        PublishedResult(
            model, task, float(cells[column] or ""), len((cells[column] or "").partition(".")[2]), marked
        )
        for model, marked, cells in _TABLE
        if cells[column] is not None
    )
