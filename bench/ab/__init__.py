"""The A/B benchmark: the same prompts, seeds and noise through two models or settings.

`compare` makes or resumes a result folder (its format: `results.py`); `bench.metrics` fills in the
quality of every video and `bench.report` says what follows.
"""
