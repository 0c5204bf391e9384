"""Scaling laws: tables of finished runs, fits of them, intervals, and what they predict."""
