"""From videos with captions to a file of triplets with contrast captions: inputs, writers by name, jobs, report."""
