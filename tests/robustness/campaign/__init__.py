"""Hostile inputs and interruptions, for the tests and for `tools/robustness.py`."""
