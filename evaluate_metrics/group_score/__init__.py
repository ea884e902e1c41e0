"""Group score of two videos and two captions; `group.py` is the pure function, `group_score.py` the `evaluate` module."""
