"""Evaluates a re-identification model: ranks a gallery, or judges whether pairs show one person."""

from tfrecords.errors import command

main = command("tfreid.commands.test")

if __name__ == "__main__":
    raise SystemExit(main())
