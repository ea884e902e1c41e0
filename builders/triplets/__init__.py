"""Read triplets from VideoCon's three CSVs, and from any CSV, JSON Lines or Parquet file like them."""

from .reader import ReadReport, TripletReader, read_triplets

__all__ = ["ReadReport", "TripletReader", "read_triplets"]
