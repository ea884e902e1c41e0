"""Losses, collator, trainer and recipes."""
