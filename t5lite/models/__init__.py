"""Architectures, the layers they are made of, their presets, and the functional view the rest uses.

``config`` and ``presets`` import no JAX; everything that computes does.
"""
