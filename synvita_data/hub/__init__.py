"""The Hugging Face Hub: repositories, cards, and what must not be published."""
