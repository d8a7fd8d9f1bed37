"""One feature an image, learnt from mined triplets (Almazan et al. 2018)."""
