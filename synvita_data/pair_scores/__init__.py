"""Scores of any pairs of videos and texts, without annotations: their tables, the job, and what it writes."""
