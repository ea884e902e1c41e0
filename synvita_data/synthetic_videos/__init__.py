"""Synthetic videos that a dataset refers to and does not hold: their names, their archives, and where they are found."""
