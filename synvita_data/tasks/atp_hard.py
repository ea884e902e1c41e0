"""ATP-Hard: the NExT-QA questions that one frame does not answer, as five statements each."""

from .citations import ATP, NEXT_QA, VIDEOCON
from .task import Expected, Task

TASK = Task(
    name="atp-hard",
    title="ATP-Hard",
    description=(
        "Video question answering by entailment: of five statements made from the answers of a NExT-QA question "
        "(causal CW, CH; temporal TN, TC, TP) the best-scored one is the answer."
    ),
    form="choice",
    source="next-qa",
    files=("nextqa-atphard-statements.csv", "eval-nextqa-atphard.csv"),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path=None,
    hub_revision=None,
    hub_note="Not on the Hub: `datasets/nextqa-atphard*.csv` of VideoCon's repository.",
    licence="MIT (VideoCon's and NExT-QA's repositories)",
    video_licence="VidOR's (YFCC-100M) Flickr uploaders; not redistributed",
    citation="\n\n".join((VIDEOCON, NEXT_QA, ATP)),
    metric="multiple_choice_accuracy",
    main_score="accuracy",
    column="ATP-Hard",
    # 1,846 questions; the official script loses two of them and prints an accuracy of 1,844 (docs/tasks.md).
    expected={"groups": Expected(1_846), "rows": Expected(1_846 * 5), "positives": Expected(1_846)},
)
