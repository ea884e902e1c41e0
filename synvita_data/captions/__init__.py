"""Captions as text: what is compared with what, words, tokens, shared parts, prompts."""
