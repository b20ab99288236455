"""Weights for a user's own classes, from a few labelled songs."""
