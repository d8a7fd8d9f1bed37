"""Footage: people found in films, and their crops."""
