"""Composes and plays short *synthetic* pieces in ten styles: from a seed to samples."""
