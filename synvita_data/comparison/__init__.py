"""Two results of a task compared, unit by unit: paired bootstrap, Holm's correction, McNemar's test, a plot."""
