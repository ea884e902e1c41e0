"""Make synthetic videos from contrast captions: pipelines of diffusers, LaVie, VideoCrafter2, any program."""

from .base import Generator, Recipe, Request, make_requests, open_generator
from .run import GenerateJob, generate_videos

__all__ = [
    "GenerateJob",
    "Generator",
    "Recipe",
    "Request",
    "generate_videos",
    "make_requests",
    "open_generator",
]
