"""The systems: what turns images into embeddings."""
