"""Meshes and executions compared by what is predicted; the best of them compiled."""
