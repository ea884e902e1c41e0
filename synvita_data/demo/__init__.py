"""The demo: the whole method on the shapes world in minutes, and a report of it as one page.

It stands on everything (builders, training, evaluation, the study's cells), as `commands/` does.
"""
