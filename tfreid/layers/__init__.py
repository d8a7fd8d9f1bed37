"""Keras layers that the backbones and the systems are made of."""
