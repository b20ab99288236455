"""Training: plan, initial weights, step, loop and validation."""
