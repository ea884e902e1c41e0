"""A built dataset: load it, look into it, find its videos."""
