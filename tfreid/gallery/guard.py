"""What a request must be before the service reads it: allowed, from here, small and not slow."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 10 * 2**20
# Seconds in which the body of a request must arrive, and requests that are answered together.
_PATIENCE, MOST_REQUESTS = 60.0, 64
_TOO_LARGE = (f"the request has more than {MOST_BYTES // 2**20} MB; send fewer or smaller "
              "images.")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
                               "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware around the service; see `make_app` for its arguments.

    It answers 401 without the token, 403 to other pages and under other names, 413 to a body of
    more than `MOST_BYTES`, 408 to one that does not arrive and 503 beyond `MOST_REQUESTS`, and adds
    headers that keep the page from loading anything from elsewhere.
    """

    def __init__(self, app: Any, token: str | None, hosts: tuple[str, ...]):
        self._app, self._token, self._hosts = app, token, hosts
        self._open = 0

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        if self._open >= MOST_REQUESTS:
            await _refuse(send, 503, "the service is busy; try again in a minute.")
            return
        self._open += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._open -= 1

    async def _answer(self, scope, receive, send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        problem = self._problem(scope["path"], headers)
        if problem is None:
            try:
                body = await asyncio.wait_for(_body(receive), _PATIENCE)
            except _Gone:
                return
            except _TooLarge:
                problem = 413, _TOO_LARGE
            except asyncio.TimeoutError:
                problem = 408, f"the request did not arrive within {_PATIENCE:g} seconds."
        if problem is None:
            await self._app(scope, _given(body), send)
        else:
            await _refuse(send, *problem)

    def _problem(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if _is_foreign(headers, host, path.startswith("/api/")):
            return 403, "the request comes from another page; open the service's own page."
        if self._token is None:
            if host.rsplit(":", 1)[0] not in self._hosts and host not in self._hosts:
                return 403, f"the service is not called that; open it as {self._hosts[0]}."
        elif path.startswith("/api/") and not secrets.compare_digest(
                headers.get(b"authorization", b""), f"Bearer {self._token}".encode()):
            return 401, "the token is missing or wrong; send Authorization: Bearer TOKEN."
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return 400, "the header Content-Length is not a number."
        return (413, _TOO_LARGE) if len(length) > 20 or int(length) > MOST_BYTES else None


def _is_foreign(headers: Mapping[bytes, bytes], host: str, asks: bool) -> bool:
    """Returns whether a page from elsewhere sends the request, by what the browser says of it.

    Others may link to the page, but not ask the interface.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return asks and headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
    try:
        return urlsplit(origin.decode("latin-1")).netloc != host
    except ValueError:
        return True


class _Gone(Exception):
    """The client went away before its request was whole."""


class _TooLarge(Exception):
    pass


async def _body(receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise _TooLarge
        more = message.get("more_body", False)
    return b"".join(parts)


def _given(body: bytes):
    """Returns what gives the whole body to the application, then waits like a quiet client."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await asyncio.Event().wait()

    return receive


def _with_headers(send):
    async def sending(message):
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *(
                (name.encode(), value.encode()) for name, value in _HEADERS.items())]
        await send(message)

    return sending


async def _refuse(send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
