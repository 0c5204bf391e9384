"""The whole road on embedded real text: vocabulary, pretraining, fine-tuning, export, report.

``corpus`` is the text and its split, ``results`` what a run found (and its JSON), ``findings`` what
the numbers say in words, ``plots`` and ``figures``, ``page`` and ``report`` how they are shown.
"""
