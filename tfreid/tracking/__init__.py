"""Tracking: people numbered through a film by trackers that exist, and what to tell them."""
