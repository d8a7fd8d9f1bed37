"""Finds a person in a gallery: adds images, searches, numbers people, serves a page, removes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfrecords.arguments import HomeParser, number, whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser

if TYPE_CHECKING:
    from tfreid.gallery.entries import Where
    from tfreid.gallery.gallery import Gallery, Match

_TOKEN = "TFREID_GALLERY_TOKEN"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DISTANCE = number(low=0.0, high=1e9)
_ORDERS = ("k_reciprocal", "pair")
_EPILOG = """\
examples:
  tfreid gallery add crops/crops.csv --gallery people.db --model served/reid
  tfreid gallery search query.jpg --gallery people.db --model served/reid --camera yard
  tfreid gallery identify --gallery people.db --model served/reid
  tfreid gallery serve --gallery people.db --model served/reid
  tfreid gallery export --gallery people.db --output people.csv
  tfreid gallery remove --gallery people.db --older-than 2026-05-01T00:00:00

A gallery is a file of milvus-lite, which one process has open at a time, or the URL of a Milvus
server. It holds embeddings, small pictures and what is known of each image, and belongs to one
model. The model should be calibrated (tfreid calibrate) before it is exported, so that results say
same, unsure or unknown. `tfreid gallery ACTION --help` explains each action.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and acts."""
    parsed = _parser().parse_args(arguments)
    parsed.act(parsed)


def _add(parsed) -> None:
    from tqdm import tqdm

    from tfreid.serving.image_lists import list_images

    images = list_images(parsed.images, parsed.fold)
    with _open(parsed) as gallery, tqdm(total=len(images), unit="image", leave=False) as bar:
        found = gallery.add(images, bar.update)
        count = gallery.store.count()
    for key, reason in found.refused[:10]:
        print(f"left out {key}: {reason}")
    if len(found.refused) > 10:
        print(f"left out {len(found.refused) - 10:,} more")
    print(f"added {found.added:,} images" + (
        f", {found.present:,} were there" if found.present else "")
        + f"; {parsed.gallery} holds {count:,}")


def _search(parsed) -> None:
    from tfrecords.image_files import read_file
    from tfreid.gallery.queries import Query
    from tfreid.serving.image_files import find_image_files

    files = [read_file(path) for path in find_image_files(parsed.images)]
    with _open(parsed) as gallery:
        matches = gallery.search(Query(files, parsed.key), _where(parsed), parsed.top,
                                 not parsed.every_image, parsed.rerank)
        _print_matches(matches, gallery)
        if parsed.picture and matches:
            _draw(files or [gallery.picture(parsed.key[0])], matches, gallery, parsed.picture)


def _identify(parsed) -> None:
    from tfreid.gallery.numbering import number_people

    with _open(parsed) as gallery:
        found = number_people(gallery, parsed.threshold, parsed.travel)
        print(f"{found['tracks']:,} tracks are {found['people']:,} people")
        if parsed.truth:
            _print_scores(gallery.entries(), parsed.truth)


def _print_scores(entries, truth: str) -> None:
    from tfreid.evaluation.identification import (
        identification_scores,
        read_people,
        share_with_one_number,
    )

    people = read_people(truth)
    known = [entry for entry in entries if entry.track in people]
    if not known:
        raise UserError(f"{truth} names no track of the gallery; give the table of its films.")
    true = [people[entry.track] for entry in known]
    found = [entry.person for entry in known]
    scores, share = identification_scores(true, found), share_with_one_number(true, found)
    print(f"of {len(known):,} images of {len(set(true)):,} people: IDF1 {scores.idf1:.3f}, "
          f"precision {scores.idp:.3f}, recall {scores.idr:.3f}; {share:.0%} of the people have "
          "exactly one number")


def _stats(parsed) -> None:
    from tfreid.gallery.entries import show_time

    with _open(parsed) as gallery:
        summary, about = gallery.summary(), gallery.about
    print(f"images   {summary['entries']:,}\ntracks   {summary['tracks']:,}\n"
          f"people   {summary['people']:,}\ncameras  {', '.join(summary['cameras'])}\n"
          f"times    {show_time(summary['first'])} to {show_time(summary['last'])}\n"
          f"model    {about.get('export', 'none yet')}")


def _export(parsed) -> None:
    from tfrecords.writing import write_whole
    from tfreid.gallery.marks import table_of

    with _open(parsed) as gallery:
        table = table_of((entry, entry.person or entry.track or entry.key)
                         for entry in gallery.entries(_where(parsed)))
    write_whole(parsed.output, table)
    print(f"wrote {table.count(10) - 1:,} rows to {parsed.output}")


def _remove(parsed) -> None:
    with _open(parsed) as gallery:
        removed = gallery.remove(_where(parsed))
    print(f"removed {removed:,} images, their embeddings and marks; the image files themselves "
          "stay where they are")


def _serve(parsed) -> None:
    token = os.environ.get(_TOKEN)
    if parsed.token_file:
        token = Path(parsed.token_file).read_text().strip()
    if token == "":
        raise UserError(f"the token of {parsed.token_file or _TOKEN} is empty; write one into it.")
    if parsed.host not in _LOOPBACK and not token:
        raise UserError(f"--host {parsed.host} lets other machines in; give --token-file FILE or "
                        f"the environment variable {_TOKEN}.")
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f"the service needs FastAPI and uvicorn ({error}); run `pip install "
                        "'tfreid[gallery]'`.") from None

    from tfreid.gallery.service import make_app

    _refuse_taken(parsed.host, parsed.port)
    with _open(parsed) as gallery:
        _ = gallery.embedder.width  # the first image takes seconds, which no visitor should wait
        name = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
        print(f"open http://{name}:{parsed.port}/ in a browser; Ctrl-C stops", flush=True)
        uvicorn.run(make_app(gallery, token), host=parsed.host, port=parsed.port,
                    log_level="warning", timeout_keep_alive=30)


def _refuse_taken(host: str, port: int) -> None:
    import socket

    try:
        socket.create_server((host, port), family=(
            socket.AF_INET6 if ":" in host else socket.AF_INET)).close()
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be opened ({error.strerror}); give another "
                        "--port.") from None


def _open(parsed) -> Gallery:
    from tfreid.gallery.embedder import Limits
    from tfreid.gallery.gallery import Gallery

    same, unsure = getattr(parsed, "same", None), getattr(parsed, "unsure", None)
    if (same is None) != (unsure is None) or (same is not None and same > unsure):
        raise UserError("give both --same and --unsure, the smaller distance first.")
    return Gallery(parsed.gallery, getattr(parsed, "model", None), parsed.name,
                   None if same is None else Limits(same, unsure),
                   getattr(parsed, "pair_model", None))


def _where(parsed) -> Where:
    from tfreid.gallery.entries import Where, parse_time

    def time(name):
        text = getattr(parsed, name, None)
        return None if text is None else parse_time(text)

    return Where(parsed.camera, time("since"), time("until"), getattr(parsed, "keys", ()),
                 parsed.track, parsed.person)


def _print_matches(matches: list[Match], gallery: Gallery) -> None:
    from tfreid.gallery.entries import show_time

    if gallery.limits is None:
        print("note: the model has no calibrated threshold, so there is no verdict; run `tfreid "
              "calibrate` and export it again, or give --same and --unsure")
    print(f"{'':4} {'distance':>8}  {'verdict':8} {'camera':12} {'time':19} {'person':8} image")
    for rank, match in enumerate(matches, 1):
        entry = match.entry
        print(f"{rank:3}. {match.distance:8.4f}  {match.verdict or '':8} {entry.camera:12} "
              f"{show_time(entry.time):19} {entry.person:8} {entry.key}"
              + (f" (track {entry.track}, {match.entries} images)" if entry.track else ""))


def _draw(files, matches, gallery, picture) -> None:
    from tfreid.gallery.embedder import MAX_PIXELS
    from tfreid.serving.formats.images import load_image
    from tfreid.visualization.ranked_list import RankedImage, RankedRow, draw_ranked_lists

    results = [RankedImage(load_image(gallery.picture(match.entry.key), MAX_PIXELS),
                           None if match.verdict is None else match.verdict == "same",
                           match.entry.camera, match.distance) for match in matches]
    draw_ranked_lists([RankedRow(load_image(files[0], MAX_PIXELS), "", "query", results)], picture,
                      explanation="Under each image: its distance and camera. Green: the same "
                                  "person by the threshold; red: perhaps, or someone else.")
    print(f"wrote {picture}")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(__doc__, _EPILOG)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION",
                                    parser_class=HomeParser)

    def action(name, act, words, model=True):
        one = actions.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        one.set_defaults(act=act)
        one.add_argument("--gallery", required=True, metavar="URI", help="file NAME.db, which is "
                         "made, or URL of a Milvus server (its token: MILVUS_TOKEN)")
        one.add_argument("--name", default="people", help="one of several galleries in the store "
                         "(default: %(default)s)")
        if model:
            one.add_argument("--model", required=True, metavar="DIR",
                             help="export that embedded the gallery, in any format")
        return one

    add = action("add", _add, "embed images and add them; those that are there already stay")
    add.add_argument("images", nargs="+", metavar="IMAGES", help="crops.csv of tfreid crop-people "
                     "or another table, a folder of records, or image files, folders and patterns")
    add.add_argument("--fold", type=whole(0), default=0, metavar="N", help="fold of records")
    _add_search(action("search", _search, "find the images that are most like a person"))
    identify = action("identify", _identify, "give every track the number of a person, over all "
                      "cameras")
    identify.add_argument("--threshold", type=_DISTANCE, metavar="D", help="distance up to which "
                          "tracks are one person (default: where the calibration accepts one in "
                          "100 pairs of different people)")
    identify.add_argument("--travel", type=_DISTANCE, metavar="SECONDS",
                          help="least time from one camera to another (default: any, as for "
                          "cameras that see the same place)")
    identify.add_argument("--truth", metavar="CSV", help="columns track and person, as tfreid "
                          "render-films writes them: scores the numbers (IDF1)")
    action("stats", _stats, "tell what a gallery holds", model=False)
    export = action("export", _export, "write the entries as the CSV that tfreid build csv reads",
                    model=False)
    export.add_argument("--output", required=True, metavar="CSV")
    _add_where(export)
    remove = action("remove", _remove, "remove entries from the disk, with pictures and marks",
                    model=False)
    _add_where(remove, time=False)
    remove.add_argument("--key", dest="keys", action="append", default=[], metavar="KEY")
    remove.add_argument("--older-than", dest="until", metavar="TIME", help="those before a time")
    serve = action("serve", _serve, "serve the page and its REST interface")
    _add_limits(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s, which "
                       "only this machine reaches; others need a token)")
    serve.add_argument("--port", type=whole(1, 65535), default=8765, help="(default: %(default)s)")
    serve.add_argument("--token-file", metavar="FILE", help="file with the token that requests "
                       f"must carry (or the environment variable {_TOKEN})")
    return parser


def _add_search(search: argparse.ArgumentParser) -> None:
    search.add_argument("images", nargs="*", metavar="IMAGE",
                        help="images of the person; several are one query")
    search.add_argument("--key", action="append", default=[], metavar="KEY",
                        help="entry that shows the person, also several times")
    _add_where(search)
    _add_limits(search)
    search.add_argument("--top", type=whole(1, 1000), default=10, metavar="K",
                        help="results (default: %(default)s)")
    search.add_argument("--every-image", action="store_true",
                        help="list every image, not only the nearest of each track")
    search.add_argument("--rerank", choices=_ORDERS, help="order the nearest 200 images by "
                        "k-reciprocal encoding, or by --pair-model")
    search.add_argument("--picture", metavar="PNG", help="picture of the results")


def _add_where(parser: argparse.ArgumentParser, time: bool = True) -> None:
    for name in ("camera", "track", "person"):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME",
                            help=f"only this {name}; also several times")
    if time:
        parser.add_argument("--since", metavar="TIME", help="only from this time on: seconds, or "
                            "2026-05-01T08:30:00 (UTC)")
        parser.add_argument("--until", metavar="TIME", help="only before this time")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--same", type=_DISTANCE, metavar="D", help="distance up to which a match "
                        "is the same person (default: where the calibration accepts one in 1,000 "
                        "pairs of different people)")
    parser.add_argument("--unsure", type=_DISTANCE, metavar="D", help="distance beyond which the "
                        "person is unknown (default: the calibrated threshold)")
    parser.add_argument("--pair-model", metavar="DIR", help="export of a CSN or Siamese network "
                        "that may re-rank")
