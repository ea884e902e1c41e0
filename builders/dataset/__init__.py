"""Assemble triplets, synthetic videos and scores into a dataset folder (`synvita build`)."""

from .options import BuildOptions, Chain
from .run import BuildResult, build_dataset

__all__ = ["BuildOptions", "BuildResult", "Chain", "build_dataset"]
