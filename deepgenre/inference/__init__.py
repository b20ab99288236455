"""Predictions and embeddings of audio files of any length."""
