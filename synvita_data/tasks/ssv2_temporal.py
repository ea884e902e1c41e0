"""SSv2-Temporal: find the videos of 18 actions that single frames do not tell apart."""

from .citations import SSV2, SSV2_TEMPORAL, VIDEOCON
from .task import Expected, Task

TASK = Task(
    name="ssv2-temporal",
    title="SSv2-Temporal",
    description=(
        "Text-to-video retrieval: for each of 18 action templates rank 216 Something-Something v2 videos, 12 of "
        "which show it. “[something]” is literal."
    ),
    form="retrieval",
    source="ssv2",
    files=("eval_ssv2_temporal.csv",),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path=None,
    hub_revision=None,
    hub_note="Not on the Hub: `datasets/eval_ssv2_temporal.csv` of VideoCon's repository.",
    licence="MIT (VideoCon's repository); action templates under Something-Something v2's licence",
    video_licence="Qualcomm's Something-Something v2 research licence; not redistributed",
    citation="\n\n".join((VIDEOCON, SSV2, SSV2_TEMPORAL)),
    metric="retrieval_map",
    main_score="map",
    column="SSv2-Temporal",
    expected={
        "rows": Expected(3_888),
        "videos": Expected(216),
        "groups": Expected(18),
        "positives": Expected(18 * 12),
    },
)
