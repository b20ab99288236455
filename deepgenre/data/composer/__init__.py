"""Composes and renders short *synthetic* pieces in ten styles, from a seed to samples."""
