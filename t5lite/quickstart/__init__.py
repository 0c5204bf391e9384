"""The whole road on embedded real text: vocabulary, pretraining, fine-tuning, export, report.

``corpus`` is the text and its split, ``results`` what a run found (and its JSON), ``plots`` and
``report`` how it is shown.
"""
