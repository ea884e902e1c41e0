"""`evaluate` metrics, each a folder that stands alone as a Hugging Face Space."""
