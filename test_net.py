"""Evaluates a re-identification model: ranks a gallery, or judges whether pairs show one person."""

from tfreid.commands.test import main

if __name__ == "__main__":
    raise SystemExit(main())
