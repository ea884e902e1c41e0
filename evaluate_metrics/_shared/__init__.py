"""What the metrics share; `export` copies it into the folder of every metric that is published."""
