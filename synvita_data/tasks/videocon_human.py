"""VideoCon (Human): contrast captions written by people for ActivityNet videos."""

from .citations import VIDEOCON
from .task import Expected, Task

TASK = Task(
    name="videocon-human",
    title="VideoCon (Human)",
    description="Tell captions from contrast captions written by people, for videos of ActivityNet's validation split.",
    form="entailment",
    source="activitynet",
    files=("videocon_human.csv",),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path="videocon/videocon",
    hub_files=("videocon_human.csv",),
    hub_revision=None,
    hub_note="The commit is not pinned: the Hub was out of reach when this was written. Results carry the digest of the rows.",
    licence="MIT (VideoCon's repository)",
    video_licence="YouTube uploaders; research use; not redistributed",
    citation=VIDEOCON,
    metric="entailment_auc",
    main_score="auc",
    column="VideoCon (Human)",
    expected={"texts": Expected(570)},
)
