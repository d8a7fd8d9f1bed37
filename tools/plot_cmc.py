"""Draws the CMC curves of several runs or test sets into one plot."""

from tfreid.commands.plot_cmc import main

if __name__ == "__main__":
    raise SystemExit(main())
