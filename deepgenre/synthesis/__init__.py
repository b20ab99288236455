"""Sound from networks: style transfer, generation, and what each filter responds to."""
