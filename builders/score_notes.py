"""What is to be said of a config's scores beside their number: whose videos they are of."""

from collections.abc import Mapping
from typing import Any


def score_notes(record: Mapping[str, Any]) -> list[str]:
    """Sentences about the scores of a config; none where every score names the very video of its row.

    Args:
        record: the config's entry of `build.json`; those of early versions do not say.
    """
    notes = []
    scores = record.get("scores")
    if scores is not None:
        total = scores["with_video"] + scores["without_video"]
        if scores["without_video"]:
            notes.append(
                f"{scores['without_video']:,} of {total:,} scored rows have no synthetic video here: their scores and "
                "weights are of videos that this dataset does not hold"
            )
        named = scores["video_named_by"]
        if named["nothing"]:
            notes.append(
                f"scores are not bound to a video in {named['nothing']:,} of {scores['with_video']:,} scored rows with "
                "a synthetic video: nothing in the score table says that it is the video that was scored"
            )
        if named["name"]:
            notes.append(
                f"scores name generator and sample but not the video's SHA-256 in {named['name']:,} of "
                f"{scores['with_video']:,} scored rows with a synthetic video"
            )
        if scores["of_other_videos"]:
            notes.append(
                f"the score table has scores of {scores['of_other_videos']:,} other videos of these rows' captions, "
                "which were not used"
            )
    notes += [
        f"{rows:,} rows have the same scores as in config {other}, though not the same video: those of one config are "
        "of another one's videos"
        for other, rows in sorted((record.get("equal_scores") or {}).items())
    ]
    return notes
