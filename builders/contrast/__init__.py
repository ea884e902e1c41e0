"""Contrast captions from captions alone: writers, checks, filters, and the job that runs them."""
