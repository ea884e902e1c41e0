"""The weighted loss for a stock `Trainer` of transformers."""
