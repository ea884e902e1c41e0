"""Results that others submit: recomputed from their scores, sent to the results repository, and where each number comes from."""
