"""`evaluate` metrics: a folder for each, `_shared/` for what they have in common, and `export`, which publishes them.

The pure functions (`entailment_auc.auc`, `retrieval_map.ranking`, `multiple_choice_accuracy.choice`,
`group_score.group`, `minimal_pair_accuracy.minimal_pair`) need NumPy only.
"""

METRICS = (
    "entailment_auc",
    "retrieval_map",
    "multiple_choice_accuracy",
    "group_score",
    "minimal_pair_accuracy",
)
