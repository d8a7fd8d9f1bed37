"""Renders films of people who walk past several cameras, with the truth about who is who."""

from tfrecords.errors import command

main = command("tfreid.commands.render_films")

if __name__ == "__main__":
    raise SystemExit(main())
