"""Exports a trained run as a SavedModel for TF Serving, after checking that it works alike."""

from tfreid.commands.export import main

if __name__ == "__main__":
    raise SystemExit(main())
