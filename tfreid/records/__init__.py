"""Reading records: their splits, images and metadata."""

from tfreid.records.images import ImageTable, decode_image, undecodable
from tfreid.records.records import Records, Split, open_records
from tfreid.records.shards import SplitIndex

__all__ = ["ImageTable", "Records", "Split", "SplitIndex", "decode_image", "open_records",
           "undecodable"]
