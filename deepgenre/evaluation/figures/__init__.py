"""Figures: a function per figure returns it, and `style` writes it. All of matplotlib is here."""
