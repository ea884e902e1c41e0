"""Assemble triplets, synthetic videos and scores into a dataset folder (`synvita build`)."""

from .chain import Chain
from .options import BuildOptions
from .run import BuildResult, build_dataset

__all__ = ["BuildOptions", "BuildResult", "Chain", "build_dataset"]
