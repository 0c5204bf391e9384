"""Runs: what composes a RunConfig into a training, an evaluation, an export.

The command line and the quickstart stand on this package, and it alone takes a RunConfig apart: every
component below is handed its own part.
"""
