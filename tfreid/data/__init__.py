"""TFRecords to training batches and evaluation streams."""
