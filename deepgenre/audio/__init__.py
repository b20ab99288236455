"""Audio files to waveforms, spectrograms and quantised levels; the same on a device."""
