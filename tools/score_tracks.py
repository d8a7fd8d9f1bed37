"""Scores tracks against the truth: IDF1, HOTA, MOTA."""

from tfrecords.errors import command

main = command("tfreid.commands.score_tracks")

if __name__ == "__main__":
    raise SystemExit(main())
