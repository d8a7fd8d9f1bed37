"""Draws the CMC curves of several runs or test sets into one plot."""

from tfrecords.errors import command

main = command("tfreid.commands.plot_cmc")

if __name__ == "__main__":
    raise SystemExit(main())
