"""What is to be said of a config beside its numbers: whose videos the scores are of, which prompts were cut."""

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


def prompt_notes(record: Mapping[str, Any]) -> list[str]:
    """A sentence about contrast captions that the generator did not read to their end; none if there are none.

    Args:
        record: the config's entry of `build.json`; those of early versions do not say.
    """
    prompts = record.get("prompts") or {"cut": 0}
    if not prompts["cut"]:
        return []
    videos = record["coverage"]["synthetic_video"][0]
    return [
        f"{prompts['cut']:,} of {videos:,} synthetic videos were made from the beginning of their contrast caption only: "
        "the generator's text encoder cuts what is longer, and what follows may not be in the video"
    ]
