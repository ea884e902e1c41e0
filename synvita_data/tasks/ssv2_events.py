"""SSv2-Events: find the videos of 49 actions made of more than one event."""

from .citations import SSV2, SSV2_EVENTS, VIDEOCON
from .task import Expected, Task

TASK = Task(
    name="ssv2-events",
    title="SSv2-Events",
    description=(
        "Text-to-video retrieval: for each of 49 action templates with several events rank 588 "
        "Something-Something v2 videos, 12 of which show it. “[something]” is literal."
    ),
    form="retrieval",
    source="ssv2",
    files=("eval_ssv2_events.csv",),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path=None,
    hub_revision=None,
    hub_note="Not on the Hub: `datasets/eval_ssv2_events.csv`, as VideoCon's README names it.",
    licence="MIT (VideoCon's repository); action templates under Something-Something v2's licence",
    video_licence="Qualcomm's Something-Something v2 research licence; not redistributed",
    citation="\n\n".join((VIDEOCON, SSV2, SSV2_EVENTS)),
    metric="retrieval_map",
    main_score="map",
    column="SSv2-Events",
    expected={
        "rows": Expected(28_812),
        "videos": Expected(588),
        "groups": Expected(49),
        "positives": Expected(49 * 12),
    },
)
