"""Pages about runs: evaluations read back, clips chosen and shown, templates filled in."""
