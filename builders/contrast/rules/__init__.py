"""Contrast captions by rules and tables of words: deterministic, without a model, for English captions."""
