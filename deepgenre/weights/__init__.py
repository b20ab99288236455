"""Specs, checkpoints and weight files; import and export of weights."""
