"""How good a model is: held-out loss, encoder use, task metrics, and baselines to read them against."""
