"""Figures and self-contained HTML pages: what every report is made of."""
