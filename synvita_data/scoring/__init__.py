"""Scoring how well a video matches texts: the protocol every model follows, and baselines."""

from .protocol import ItemScores, ScoreKind, Scorer, ScoringItem

__all__ = ["ItemScores", "ScoreKind", "Scorer", "ScoringItem"]
