"""Multiple choice; `choice.py` is the pure function, `multiple_choice_accuracy.py` the `evaluate` module."""
