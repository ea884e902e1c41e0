"""ROC-AUC of video-text entailment; `auc.py` is the pure function, `entailment_auc.py` the `evaluate` module."""
