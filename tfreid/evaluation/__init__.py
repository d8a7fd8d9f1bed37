"""Ranking a gallery for each query: distances, CMC, average precision, and the printed report."""
