"""The real videos of a row: where they are, what they are called, which part of them is meant."""
