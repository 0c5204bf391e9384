"""Training on hardware that is not here: compiled for it, read back, and timed by its data sheet."""
