"""Averages the single-shot results of runs on several random identity splits of one dataset."""

from tfrecords.errors import command

main = command("tfreid.commands.average_folds")

if __name__ == "__main__":
    raise SystemExit(main())
