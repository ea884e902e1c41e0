"""Pairs of questions; `minimal_pair.py` is the pure function, `minimal_pair_accuracy.py` the `evaluate` module."""
