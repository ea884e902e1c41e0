"""From the rows of a dataset to training samples, without the model's weights."""
