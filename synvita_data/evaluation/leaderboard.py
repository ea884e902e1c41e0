"""The data behind the leaderboard: result files and the paper's Table 3 in, rows and cells out."""

from collections.abc import Mapping
from typing import Any


def estimate_text(score: Mapping[str, Any]) -> str:
    """One estimate as text: `15.57 [12.10, 19.30]`, with ` 96/100` behind it when k of n were scored.

    Args:
        score: value, low, high (percent, any may be None), k, n.
    """
    value, low, high = score["value"], score["low"], score["high"]
    text = "–" if value is None else f"{value:.2f}"
    if low is not None and high is not None:
        text += f" [{low:.2f}, {high:.2f}]"
    return text if score["k"] == score["n"] else f"{text} {score['k']:,}/{score['n']:,}"
