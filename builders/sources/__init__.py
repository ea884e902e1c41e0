"""Where synthetic videos come from: `open_source("folder:DIR").find(triplets)`."""

from .registry import SCHEMES, FoundVideos, SyntheticSource, SyntheticVideo, open_source, parse_spec

__all__ = ["SCHEMES", "FoundVideos", "SyntheticSource", "SyntheticVideo", "open_source", "parse_spec"]
