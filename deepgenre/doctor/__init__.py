"""Checks what a run depends on: the machine, weights, a dataset with its store, and a workdir."""
