"""Writes the features of records or image files into one .npz or Parquet file."""

from tfrecords.errors import command

main = command("tfreid.commands.extract_features")

if __name__ == "__main__":
    raise SystemExit(main())
