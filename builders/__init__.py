"""Building datasets: read triplets, find or make synthetic videos, assemble, publish."""
