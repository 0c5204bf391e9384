"""A run as a model of EleutherAI's lm-evaluation-harness, without an export (``t5lite harness``)."""
