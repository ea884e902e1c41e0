"""Where synthetic videos come from: `open_source("folder:DIR").find(triplets)`."""

from .registry import SCHEMES, open_source, parse_spec
from .source import FoundVideos, SyntheticSource, SyntheticVideo

__all__ = ["SCHEMES", "FoundVideos", "SyntheticSource", "SyntheticVideo", "open_source", "parse_spec"]
