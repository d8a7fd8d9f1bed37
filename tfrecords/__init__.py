"""Dataset folders in, sharded TFRecords with a manifest out."""
