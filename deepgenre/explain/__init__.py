"""Which parts of a song a network's score rests on, as numbers, a figure and sound."""
