"""Varied pedestrians: muted clothes with prints and folds, cluttered places, cameras that change.

`tfreid build synthetic --style varied` renders them; they train models for real cameras.
"""
