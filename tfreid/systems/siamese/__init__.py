"""Twins and a merge network that verify pairs of images (Bojja)."""
