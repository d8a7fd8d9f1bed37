"""The gallery over HTTP: a REST service, and the page that asks it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Optional

import fastapi
import numpy as np
from fastapi import Body, FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tfrecords.errors import UserError
from tfreid import __version__
from tfreid.footage.crops import cut_ends
from tfreid.gallery import marks
from tfreid.gallery.entries import ENROLLED, Entry, Where, track_in
from tfreid.gallery.gallery import Gallery, UnknownEntry
from tfreid.gallery.guard import MOST_BYTES, Guard
from tfreid.gallery.numbering import number_people
from tfreid.gallery.queries import Query as Person
from tfreid.gallery.store import StoreError
from tfreid.serving.formats.images import load_image, stored_file
from tfreid.serving.interface import RefusedImages

# Limits of a request; pixels are those of all its images together.
MOST_IMAGES, MOST_RESULTS, MOST_PIXELS, MOST_KEYS = 16, 200, 25_000_000, 500
# Seconds that a request waits for one that changes the gallery.
_PATIENCE = 30
_PAGE = Path(__file__).parent / "page"
_Keys = Annotated[list[str], Form(max_length=MOST_KEYS)]
_Name = Annotated[str, Form(max_length=256)]
_Seconds = Annotated[Optional[float], Form(allow_inf_nan=False)]


class Marks(BaseModel):
    """Marks of a person's name: `right` null takes one back."""

    class One(BaseModel):
        """The mark of an entry."""

        key: str
        right: Optional[bool]

    person: str = Field(min_length=1, max_length=256)
    marks: list[One] = Field(max_length=MOST_KEYS)


class Removal(BaseModel):
    """What is removed: entries that fulfil every condition given, at least one."""

    keys: list[str] = Field(default=[], max_length=MOST_KEYS)
    track: Optional[str] = Field(default=None, min_length=1)
    person: Optional[str] = Field(default=None, min_length=1)
    before: Optional[float] = Field(default=None, allow_inf_nan=False)


class Numbering(BaseModel):
    """How people are numbered; see `number_people`."""

    threshold: Optional[float] = Field(default=None, ge=0, allow_inf_nan=False)
    travel: Optional[float] = Field(default=None, ge=0, allow_inf_nan=False)


def make_app(gallery: Gallery, token: str | None = None,
             hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")) -> FastAPI:
    """Makes the application, for an ASGI server such as uvicorn.

    Args:
        gallery: The gallery, opened with its model.
        token: What requests to `/api` must carry as `Authorization: Bearer TOKEN`; None lets all
            in that reach the address.
        hosts: Names by which the service may be called, without a token; other names would be
            those of pages elsewhere that a browser was led astray to.
    """
    app = FastAPI(title="tfreid gallery", version=__version__, openapi_url="/api/openapi.json",
                  docs_url=None, redoc_url=None)
    app.add_middleware(Guard, token=token, hosts=hosts)
    _explain_errors(app)
    app.include_router(_routes(_Desk(gallery)), prefix="/api")
    app.mount("/", StaticFiles(directory=_PAGE, html=True))
    return app


class Busy(UserError):
    """Another request changes the gallery."""


class _Desk:
    """The gallery, with writers and decoders that take turns, and a summary made once for all."""

    def __init__(self, gallery: Gallery):
        self.gallery, self._turn, self._decoding = gallery, threading.Lock(), threading.Lock()
        self._summary = None

    def summary(self) -> dict:
        """Returns the gallery's summary."""
        with self._waited_for(self._turn):
            if self._summary is None:
                self._summary = self.gallery.summary()
            return self._summary

    @contextlib.contextmanager
    def changing(self) -> Iterator[Gallery]:
        """Lets one request at a time change entries."""
        with self._waited_for(self._turn):
            try:
                yield self.gallery
            finally:
                self._summary = None

    def decoded(self, files: list[bytes]) -> Iterator[np.ndarray]:
        """Yields uint8 RGB images; one request at a time decodes, which bounds memory."""
        left = MOST_PIXELS
        with self._waited_for(self._decoding):
            for data in files:
                image = load_image(data, left)
                left -= image.shape[0] * image.shape[1]
                yield image

    @contextlib.contextmanager
    def _waited_for(self, lock: threading.Lock) -> Iterator[None]:
        if not lock.acquire(timeout=_PATIENCE):
            raise Busy("the gallery is busy, perhaps with a removal; try again in a minute.")
        try:
            yield
        finally:
            lock.release()


def _routes(desk: _Desk) -> fastapi.APIRouter:
    routes, gallery = fastapi.APIRouter(), desk.gallery

    @routes.get("/about")
    def about() -> dict:
        """Tells what the gallery holds, and the limits of requests."""
        limits = gallery.limits
        return {**desk.summary(), "name": gallery.store.name, "metric": gallery.embedder.metric,
                "thresholds": limits and limits._asdict(), "rerank": gallery.rerankings,
                "limits": {"upload_bytes": MOST_BYTES, "pixels": MOST_PIXELS,
                           "images": MOST_IMAGES, "results": MOST_RESULTS}}

    @routes.post("/search")
    def search(images: Annotated[list[UploadFile], File()] = [],  # noqa: B006
               boxes: Annotated[str, Form()] = "", keys: _Keys = [],  # noqa: B006
               right: _Keys = [], wrong: _Keys = [], cameras: _Keys = [],  # noqa: B006
               since: _Seconds = None, until: _Seconds = None,
               limit: Annotated[int, Form(ge=1, le=MOST_RESULTS)] = 60,
               group: Annotated[Literal["track", "none"], Form()] = "track",
               rerank: Annotated[str, Form()] = "none") -> dict:
        """Finds the entries that are most like a person, who is given by images or entries."""
        start = time.monotonic()
        person = Person(_cut(desk, _read(images), boxes), keys, right, wrong)
        found = gallery.search(person, Where(cameras, since, until), limit, group == "track",
                               None if rerank == "none" else rerank)
        results = [{**match.entry._asdict(), "distance": match.distance,
                    "verdict": match.verdict, "entries": match.entries} for match in found]
        return {"results": results, "seconds": round(time.monotonic() - start, 3)}

    @routes.get("/thumbnail", response_class=Response,
                responses={200: {"content": {"image/jpeg": {}}}})
    def thumbnail(key: str) -> Response:
        """Returns the small picture of an entry."""
        return Response(gallery.picture(key), media_type="image/jpeg")

    @routes.get("/entries")
    def entries(track: str = "", person: str = "", camera: str = "",
                limit: Annotated[int, Query(ge=1, le=1000)] = MOST_RESULTS) -> dict:
        """Lists entries of a track, person or camera."""
        where = Where([camera] if camera else (), tracks=[track] if track else (),
                      people=[person] if person else ())
        return {"entries": [entry._asdict() for entry in gallery.entries(where, limit)]}

    @routes.post("/entries")
    def enrol(images: Annotated[list[UploadFile], File()], camera: _Name,
              time: _Seconds = None, track: _Name = "", person: _Name = "") -> dict:
        """Adds images, all or none; their keys are made from their contents."""
        files = [stored_file(data) for data in _read(images)]
        for _ in desk.decoded(files):
            pass
        named = {_enrolled_key(data): data for data in files}
        with desk.changing():
            refused = gallery.put([
                (Entry(key, camera, time, track_in(camera, track), person).check(), data)
                for key, data in named.items()], all_or_none=True)
        if refused:
            raise RefusedImages(f"{refused[0][1]}; give whole JPEG or PNG files.")
        return {"keys": list(map(_enrolled_key, files))}

    @routes.delete("/entries")
    def remove(removal: Removal) -> dict:
        """Removes entries, their pictures and their marks, from the disk too."""
        where = Where(keys=removal.keys, until=removal.before,
                      tracks=[] if removal.track is None else [removal.track],
                      people=[] if removal.person is None else [removal.person])
        with desk.changing():
            return {"removed": gallery.remove(where)}

    @routes.post("/identify")
    def identify(settings: Annotated[Numbering, Body()] = Numbering()) -> dict:  # noqa: B008
        """Gives every track the number of a person."""
        with desk.changing():
            return number_people(gallery, settings.threshold, settings.travel)

    @routes.get("/marks")
    def get_marks() -> dict:
        """Lists all marks."""
        return {"marks": [mark._asdict() for mark in marks.find_marks(gallery.store)]}

    @routes.post("/marks")
    def set_marks(given: Marks) -> dict:
        """Keeps which entries show a person, and which do not."""
        with desk.changing():
            gallery.mark(given.person, {one.key: one.right for one in given.marks})
        return {"kept": len(given.marks)}

    @routes.get("/marks.csv", response_class=Response,
                responses={200: {"content": {"text/csv": {}}}})
    def marks_table() -> Response:
        """Returns the marked entries as the table that `tfreid build csv` reads."""
        return Response(marks.marks_table(gallery), media_type="text/csv", headers={
            "Content-Disposition": 'attachment; filename="marks.csv"'})

    return routes


def _read(files: list[UploadFile]) -> list[bytes]:
    if len(files) > MOST_IMAGES:
        raise HTTPException(413, f"{len(files)} images are too many; send at most {MOST_IMAGES}.")
    return [file.file.read() for file in files]


def _enrolled_key(data: bytes) -> str:
    return f"{ENROLLED}{hashlib.sha256(data).hexdigest()[:32]}.jpg"


def _cut(desk: _Desk, files: list[bytes], boxes: str) -> list[np.ndarray]:
    """Decodes images and cuts their boxes, given as JSON: for each, null or its four ends."""
    try:
        ends = json.loads(boxes) if boxes else [None] * len(files)
        fits = len(ends) == len(files) and all(
            box is None or (len(box) == 4 and all(abs(float(end)) < 1e6 for end in box))
            for box in ends)
    except (TypeError, ValueError, RecursionError):
        fits = False
    if not fits:
        raise UserError("boxes must be a JSON list with, for each image, null or its left, top, "
                        "right and bottom in pixels.")
    images = []
    with contextlib.closing(desk.decoded(files)) as decoded:
        for image, box in zip(decoded, ends):
            cut = image if box is None else cut_ends(image, box)
            if cut is None:
                raise UserError(f"the box {box} has no area inside the image of "
                                f"{image.shape[1]}x{image.shape[0]} pixels; draw it again.")
            images.append(cut.copy())  # a box alone, without the frame it is a part of
    return images


def _explain_errors(app: FastAPI) -> None:
    """Makes every error a sentence with a status."""
    statuses = ((UnknownEntry, 404), (RefusedImages, 415), (Busy, 503), (UserError, 400))

    @app.exception_handler(StoreError)
    def failed_store(_: Request, error: StoreError) -> JSONResponse:
        logging.getLogger(__name__).error("%s", error)
        return JSONResponse({"error": "the gallery's store did not do it; the service's log says "
                                      "why. Try again."}, 503)

    @app.exception_handler(UserError)
    def refused(_: Request, error: UserError) -> JSONResponse:
        status = next(status for kind, status in statuses if isinstance(error, kind))
        return JSONResponse({"error": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return JSONResponse({"error": f"{place}: {first['msg']}."}, 400)

    @app.exception_handler(HTTPException)
    def failed(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the service failed; its log says why."}, 500)
