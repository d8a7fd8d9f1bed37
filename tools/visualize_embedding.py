"""Draws what an embedding looks at, by Grad-CAM, and what it ranks first."""

from tfrecords.errors import command

main = command("tfreid.commands.visualize_embedding")

if __name__ == "__main__":
    raise SystemExit(main())
