"""Measures how rank-1 and mAP fall as distractors are added to the gallery, and draws it."""

from tfreid.commands.distractor_curve import main

if __name__ == "__main__":
    raise SystemExit(main())
