"""Publish a built dataset or annotations on the Hub (`synvita push`)."""
