"""A server of one page and its questions, which only this computer can reach."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterable
from typing import Any

import numpy as np
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tcae.evaluation.metrics import Array
from tcae.live.answers import Answers, NotKept
from tcae.live.uploads import MOST_BYTES

_LOOPBACK = "127.0.0.1"
_NAMES = (_LOOPBACK, "localhost")
_ROUTES = Map(
    [
        Rule("/", endpoint="page", methods=["GET"]),
        Rule("/favicon.ico", endpoint="icon", methods=["GET"]),
        Rule("/frames", endpoint="frame", methods=["POST"]),
        Rule("/pictures", endpoint="picture", methods=["POST"]),
        Rule("/pictures/<key>/faces/<int:number>", endpoint="face", methods=["GET"]),
        Rule("/pictures/<key>/faces/<int:number>", endpoint="edited", methods=["POST"]),
    ]
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Request(Request):
    max_content_length = MOST_BYTES


class Application:
    """The page and the answers to its questions, as a WSGI application.

    What goes wrong is a status and a line, in JSON as ``{"error": line}``.

    Args:
        answers: Gives the answers.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        response = self._response(_Request(environ))
        response.headers.update(_HEADERS)
        return response(environ, start_response)

    def _response(self, request: Request) -> Response:
        try:
            _check_sender(request)
            endpoint, values = _ROUTES.bind_to_environ(request.environ).match()
            answer: Response = getattr(self, f"_{endpoint}")(request, **values)
            return answer
        except HTTPException as error:
            return _json({"error": error.description}, error.code)
        except NotKept as error:
            return _json({"error": str(error)}, 404)
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    def _page(self, _: Request) -> Response:
        return Response(self._answers.page, mimetype="text/html")

    def _icon(self, _: Request) -> Response:
        return Response(status=204)  # browsers ask for one, unasked

    def _frame(self, request: Request) -> Response:
        return _json(self._answers.frame(request.get_data(), self._neutral(request)))

    def _picture(self, request: Request) -> Response:
        return _json(self._answers.picture(request.get_data(), self._neutral(request)))

    def _face(self, _: Request, key: str, number: int) -> Response:
        return _json(self._answers.face(key, number))

    def _edited(self, request: Request, key: str, number: int) -> Response:
        aus, pose = _wishes(request.get_data())
        return Response(self._answers.edited(key, number, aus, pose), mimetype="image/jpeg")

    def _neutral(self, request: Request) -> Array | None:
        """Return the logits of the neutral face that comes with a picture."""
        text = request.args.get("neutral")
        if text is None:
            return None
        numbers = _numbers(text.split(","), "neutral")
        if len(numbers) != len(self._answers.units):
            raise ValueError(f"neutral: {len(numbers)} came, {len(self._answers.units)} are needed")
        return np.array(numbers)


def listen(port: int) -> socket.socket:
    """Return a socket that hears this computer only.

    Args:
        port: 0: any that is free.

    Raises:
        ValueError: There is no such port, or it is in use.
    """
    try:
        return socket.create_server((_LOOPBACK, port))
    except OverflowError:
        raise ValueError(f"--port {port}: a port is from 0 to 65535") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ValueError(f"--port {port}: {reason}; 0 takes one that is free") from None


def address_of(heard: socket.socket) -> str:
    """Return where a browser finds the page."""
    return f"http://{_LOOPBACK}:{heard.getsockname()[1]}/"


def serve(application: Application, heard: socket.socket) -> None:
    """Answer requests until Ctrl-C.

    Args:
        application: Answers them.
        heard: Of `listen`.
    """
    make_server(
        _LOOPBACK,
        heard.getsockname()[1],
        application,
        threaded=True,
        request_handler=_QuietHandler,
        fd=heard.fileno(),
    ).serve_forever()


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Say nothing: there are many requests a second."""


def _check_sender(request: Request) -> None:
    """Refuse pages of other sites, also where their name was made to lead to this computer.

    Raises:
        Forbidden: The request is of such a page.
    """
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if not host_is_trusted(host, _NAMES):
        raise Forbidden(f"Host {host}: {' or '.join(_NAMES)} is needed")
    if origin is not None and origin != f"http://{host}":
        raise Forbidden(f"Origin {origin}: http://{host} is needed")


def _wishes(content: bytes) -> tuple[dict[str, float], list[float] | None]:
    """Return the intensities and the pose that an edit asks for."""
    try:
        asked = json.loads(content)
        aus, pose = dict(asked["aus"]), asked["pose"]
    except (ValueError, TypeError, KeyError):
        raise ValueError("an edit is JSON such as {'aus': {'AU12': 1}, 'pose': null}") from None
    values = _numbers(aus.values(), "aus")
    return dict(zip(aus, values, strict=True)), None if pose is None else _numbers(pose, "pose")


def _numbers(given: Any, name: str) -> list[float]:
    try:
        numbers = [float(number) for number in given]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: {given!r} came, numbers are needed") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name}: {numbers} came, finite numbers are needed")
    return numbers


def _json(told: object, status: int | None = 200) -> Response:
    return Response(json.dumps(told), status, mimetype="application/json")
