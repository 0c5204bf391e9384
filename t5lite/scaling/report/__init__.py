"""The page of runs, sweeps and tables: curves, isoFLOP profiles, laws with bands, predictions, the table."""
