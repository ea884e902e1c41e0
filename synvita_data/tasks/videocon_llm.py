"""VideoCon (LLM): captions of real videos against contrast captions written by a language model."""

from .citations import VIDEOCON
from .task import Expected, Task

TASK = Task(
    name="videocon-llm",
    title="VideoCon (LLM)",
    description=(
        "Tell captions from contrast captions (seven misalignments, written by PaLM-2) of videos from MSR-VTT, "
        "VATEX and TEMPO: the test split of VideoCon's entailment data."
    ),
    form="entailment",
    source=None,
    files=("videocon_llm_entailment.csv", "videocon_llm_feedback.csv"),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path="videocon/videocon",
    hub_files=("videocon_llm_entailment.csv",),
    hub_revision=None,
    hub_note="The commit is not pinned: the Hub was out of reach when this was written. Results carry the digest of the rows.",
    licence="MIT (VideoCon's repository); captions under the terms of MSR-VTT, VATEX (CC BY 4.0) and TEMPO",
    video_licence="YouTube and Flickr uploaders; research use; not redistributed",
    citation=VIDEOCON,
    metric="entailment_auc",
    main_score="auc",
    column="VideoCon (LLM)",
    expected={"texts": Expected(27_000, rounded_to=1_000)},
    split="test",
)
