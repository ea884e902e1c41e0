"""Text-to-video retrieval; `ranking.py` is the pure function, `retrieval_map.py` the `evaluate` module."""
