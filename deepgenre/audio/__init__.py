"""Audio files to waveforms, spectrograms, levels and features, on the host and on a device."""
