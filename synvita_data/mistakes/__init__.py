"""What a model got most wrong on a task: found, listed, and shown with the frames it looked at."""
