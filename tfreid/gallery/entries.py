"""What a gallery knows of an image, and which entries a search is about."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from tfrecords.errors import UserError, shortened

# Bytes that Milvus keeps of each text.
LIMITS = {"key": 1024, "camera": 256, "track": 512, "person": 256}
# What stands for no time, where there must be one.
UNKNOWN_TIME = -1e300
# How keys of images begin that were sent to the service and have no file.
ENROLLED = "enrolled/"
_LATEST = 1e11
_FORMULA = ("=", "+", "-", "@")
# Times above are seconds since 1970, times below seconds from the start of a film.
_CLOCK = 1e8


class Entry(NamedTuple):
    """An image of the gallery.

    Attributes:
        key: What names the image, such as its path.
        camera: Name of the camera; empty if unknown, as the other texts.
        time: Seconds since 1970 (UTC), or from the start of the film; None if unknown.
        track: Name of the track: one person followed by one camera.
        person: Name or number of the person.
    """

    key: str
    camera: str = ""
    time: float | None = None
    track: str = ""
    person: str = ""

    def check(self) -> Entry:
        """Returns the entry itself.

        Raises:
            UserError: If the key is empty, a text is too long or not Unicode, a name would be a
                formula in a spreadsheet, or the time is none.
        """
        if not self.key:
            raise UserError("an image has no key; give it one.")
        for name, limit in LIMITS.items():
            text = getattr(self, name)
            try:
                size = len(text.encode())
            except UnicodeEncodeError:
                raise UserError(f"the {name} {ascii(text)} is not UTF-8; rename it.") from None
            if size > limit or any(ord(letter) < 32 for letter in text):
                raise UserError(f"the {name} {shortened(ascii(text))} has more than {limit} bytes, "
                                "or control characters; shorten it.")
        if self.person.startswith(_FORMULA):
            raise UserError(f"the person {shortened(self.person)} begins with one of "
                            f"{' '.join(_FORMULA)}, as a formula of a spreadsheet; rename it.")
        if self.time is not None and not abs(self.time) < _LATEST:
            raise UserError(f"{self.time:g} is not a time in seconds.")
        return self


class Where(NamedTuple):
    """Which entries are meant: those that fulfil every condition that is given.

    Attributes:
        cameras: Names of cameras; empty means all, here and below.
        since: Earliest time in seconds.
        until: Time in seconds before which they are.
        keys: Keys.
        tracks: Names of tracks.
        people: Names of people.
    """

    cameras: Sequence[str] = ()
    since: float | None = None
    until: float | None = None
    keys: Sequence[str] = ()
    tracks: Sequence[str] = ()
    people: Sequence[str] = ()

    @property
    def everything(self) -> bool:
        """Whether no condition is given."""
        return not (self.cameras or self.keys or self.tracks or self.people) and (
            self.since is None and self.until is None)


EVERYWHERE = Where()


def track_in(camera: str, track: str) -> str:
    """Returns a track's name with its camera's, since cameras number their tracks alike."""
    return f"{camera}-{track}" if camera and track and not track.startswith(
        f"{camera}-") else track


def parse_time(text: str) -> float:
    """Returns seconds of a number or of a time such as 2026-05-01T08:30:00 (UTC unless it says).

    Raises:
        UserError: If it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            moment = None
        if moment is None:
            raise UserError(f"{shortened(repr(text))} is not a time; give seconds, or a time such "
                            "as 2026-05-01T08:30:00.") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        seconds = moment.timestamp()
    if not abs(seconds) < _LATEST:
        raise UserError(f"{shortened(text)} is not a time; give seconds, not milliseconds.")
    return seconds


def is_clock(seconds: float) -> bool:
    """Returns whether a time is one of day, and not counted from the start of a film."""
    return abs(seconds) >= _CLOCK


def show_time(seconds: float | None) -> str:
    """Returns a time as people read it, in UTC; empty if it is unknown."""
    if seconds is None:
        return ""
    if is_clock(seconds):
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        return moment.strftime("%Y-%m-%d %H:%M:%S")
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
