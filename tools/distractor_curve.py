"""Measures how rank-1 and mAP fall as distractors are added to the gallery, and draws it."""

from tfrecords.errors import command

main = command("tfreid.commands.distractor_curve")

if __name__ == "__main__":
    raise SystemExit(main())
