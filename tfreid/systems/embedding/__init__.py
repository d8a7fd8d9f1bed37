"""One feature an image: ID, triplet, center and Lin losses over P x K batches."""
