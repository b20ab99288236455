"""Scores, metrics, calibration and figures of trained networks."""
