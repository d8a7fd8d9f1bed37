"""Writes the features of records or image files into one .npz or Parquet file."""

from tfreid.commands.extract_features import main

if __name__ == "__main__":
    raise SystemExit(main())
