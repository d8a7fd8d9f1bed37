"""Reading records: their splits, images and metadata."""

from tfreid.records.images import ImageTable, decode_image, undecodable
from tfreid.records.records import Records, Split, open_records
from tfreid.records.shards import SplitIndex
from tfreid.records.sources import JoinedRecords, open_first, open_training

__all__ = ["ImageTable", "JoinedRecords", "Records", "Split", "SplitIndex", "decode_image",
           "open_first", "open_records", "open_training", "undecodable"]
