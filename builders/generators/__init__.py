"""Make synthetic videos from contrast captions: pipelines of diffusers, LaVie, VideoCrafter2, any program."""

from .job import GenerateJob
from .recipe import Generator, Recipe, Request, make_requests
from .registry import open_generator
from .run import generate_videos

__all__ = [
    "GenerateJob",
    "Generator",
    "Recipe",
    "Request",
    "generate_videos",
    "make_requests",
    "open_generator",
]
