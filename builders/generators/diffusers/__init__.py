"""Pipelines of diffusers as generators (`diffusers:REPO_OR_DIR`)."""
