"""The method in miniature: the shapes world's checkpoints, cells, questions with many seeds, and their analysis.

It stands on everything (builders, training, evaluation), as `commands/` does, and only `commands/` may import it.
"""
