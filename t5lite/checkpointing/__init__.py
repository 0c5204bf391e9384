"""Orbax checkpoints: save in the background, restore onto another mesh or dtype, parameters alone."""
