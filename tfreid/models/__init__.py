"""Embedding models, their size and cost."""
