"""Averages the single-shot results of runs on several random identity splits of one dataset."""

from tfreid.commands.average_folds import main

if __name__ == "__main__":
    raise SystemExit(main())
