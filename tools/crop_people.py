"""Cuts the people out of films: JPEG crops and one table of them."""

from tfrecords.errors import command

main = command("tfreid.commands.crop_people")

if __name__ == "__main__":
    raise SystemExit(main())
