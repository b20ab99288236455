"""Datasets to batches: clips, store, splits, sampling and pipelines."""
