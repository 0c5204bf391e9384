"""``t5lite serve``: a run behind OpenAI's completions API, in one process, for trying a model."""
