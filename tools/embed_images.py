"""Embeds many images with an exported model into Parquet shards."""

from tfrecords.errors import command

main = command("tfreid.commands.embed_images")

if __name__ == "__main__":
    raise SystemExit(main())
