"""Shared vocabulary of every other package: array names, metrics, registries, errors, files.

Imports nothing of t5lite, and JAX only where arrays are handled, so that ``t5lite --help`` stays fast.
"""
