"""Results of several models beside the published ones."""
