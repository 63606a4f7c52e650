"""The service's routes: POST /predict, GET /classes, /health and the page at /. Only
uploads are read; no URL is fetched. Images are decoded and scored one after another, in
a thread, so that requests take turns image by image and the memory is that of one
image.
"""

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import h11
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from PIL import Image
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from prompting.predict import Predictor
from toolkit.common.class_names import require_distinct
from toolkit.common.images import ImageError, image_size
from toolkit.common.text import printable

logger = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.html")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
LONGEST_NAME = 200  # characters of a class or a file
TEXT_FIELDS = 8
MAX_CONNECTIONS = 256  # more are answered 503
HEADER_SECONDS = 10.0
# times the limit is read of a body that is too large, before the connection is closed
DISCARDED = 4
CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Limits:
    """The limits of one request.

    Attributes:
        megabytes: of the whole request.
        pixels: that an image declares; three bytes each when it is decoded.
        seconds: until the request has arrived.
    """

    images: int = 16
    classes: int = 1000
    megabytes: int = 32
    pixels: int = 50_000_000
    seconds: float = 30.0


def build_app(
    predictor: Predictor,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    host: str = "127.0.0.1",
    limits: Limits = Limits(),
) -> FastAPI:
    """Return the application that serves `predictor`. classes, task: the default
    classes, as in `Predictor.predict`. host: if it is loopback, requests that name
    another host are refused, as pages of other sites could make them. Raises ValueError
    if the default classes are not known.
    """
    default, _ = predictor.choose_classes(classes, task)
    service = Service(predictor, default, task, limits)
    app = FastAPI(
        title="MVLPT",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=service.lifespan,
    )
    app.add_middleware(BodyLimits, megabytes=limits.megabytes, seconds=limits.seconds)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    app.add_api_route("/predict", service.predict, methods=["POST"])
    app.add_api_route("/classes", service.describe, methods=["GET"])
    app.add_api_route("/health", service.health, methods=["GET"])
    app.add_api_route("/", service.page, methods=["GET"], response_class=HTMLResponse)
    return app


class Service:
    """The routes, and the one thread at a time that decodes and scores."""

    def __init__(
        self, predictor: Predictor, default: list[str], task: str | None, limits: Limits
    ) -> None:
        self.predictor = predictor
        self.default = default
        self.task = task
        self.limits = limits
        self._html = PAGE.read_text(encoding="utf-8")

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.turn = anyio.CapacityLimiter(1)
        yield

    async def page(self) -> HTMLResponse:
        return HTMLResponse(self._html, headers=HEADERS)

    async def health(self) -> dict:
        """Answer while the service is up, also when it is busy."""
        metadata = self.predictor.metadata
        return {
            "status": "ok",
            "method": metadata.get("method"),
            "backbone": metadata.get("backbone"),
        }

    async def describe(self) -> dict:
        """Return the default classes, and if others may be given."""
        return {
            "classes": self.default,
            "fixed": self.predictor.model.has_class_contexts,
        }

    async def predict(self, request: Request) -> dict:
        """Classify the images of a multipart form. Fields: `images` (files, several),
        `classes` (comma separated or a line each; default: /classes), `top` (default
        5). An image that can't be read has an "error" in the place of "predictions"; if
        all have, it is the answer's status.
        """
        form = await self._read_form(request)
        try:
            images = _images(form)
            classes = self._classes(form)
            top = _top(form)
            answers: list[dict[str, object]] = []
            failed: list[HTTPException] = []
            for upload in images:
                name = printable(upload.filename or "image", LONGEST_NAME)
                job = partial(self._classify, upload, name, classes)
                try:
                    ranked = await anyio.to_thread.run_sync(job, limiter=self.turn)
                except HTTPException as error:
                    failed.append(error)
                    answers.append({"image": name, "error": error.detail})
                else:
                    best = [
                        {"class": label, "probability": round(p, 6)}
                        for label, p in ranked[:top]
                    ]
                    answers.append({"image": name, "predictions": best})
        finally:
            await form.close()
        if len(failed) == len(answers):
            raise failed[0]
        return {"results": answers}

    async def _read_form(self, request: Request) -> FormData:
        try:
            return await request.form(
                max_files=self.limits.images, max_fields=TEXT_FIELDS
            )
        except StarletteHTTPException as error:
            if error.detail.startswith("Too many"):
                raise HTTPException(413, error.detail) from None
            raise
        except ValueError as error:  # of the parser
            raise HTTPException(400, printable(error)) from None
        except ClientDisconnect:
            raise HTTPException(400, "the request ended too early") from None

    def _classes(self, form: FormData) -> list[str] | None:
        """Return the classes of the form, or None for the default ones."""
        names: list[str] = []
        for text in form.getlist("classes"):
            if not isinstance(text, str):
                raise HTTPException(422, "the field 'classes' is a file; give names")
            for name in text.replace("\n", ",").split(","):
                if name.strip():
                    names.append(name.strip())
        if not names:
            return None
        if len(names) > self.limits.classes:
            raise HTTPException(
                413, f"{len(names)} classes; {self.limits.classes} is the most"
            )
        if max(map(len, names)) > LONGEST_NAME:
            raise HTTPException(
                413, f"a class name is longer than {LONGEST_NAME} characters"
            )
        try:
            require_distinct(names, "classes")
        except ValueError as error:
            raise HTTPException(422, printable(error)) from None
        return names

    def _classify(self, upload: UploadFile, name: str, classes: list[str] | None):
        """Decode and score one image, in a thread."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "upload"
            upload.file.seek(0)
            path.write_bytes(upload.file.read())
            self._check_pixels(path, name)
            try:
                return self.predictor.predict(path, classes or self.default, self.task)[
                    0
                ]
            except ImageError as error:
                raise HTTPException(
                    415, printable(str(error).replace(str(path), name))
                ) from None
            except ValueError as error:
                raise HTTPException(422, printable(error)) from None

    def _check_pixels(self, path: Path, name: str) -> None:
        """Raise HTTPException for too many pixels; no image has another error later."""
        try:
            width, height = image_size(path)
        except Image.DecompressionBombError:
            raise HTTPException(
                413, f"{name} declares more than {self.limits.pixels:,} pixels"
            ) from None
        except ImageError:
            return
        if width * height > self.limits.pixels:
            raise HTTPException(
                413,
                f"{name} declares {width} x {height} pixels; {self.limits.pixels:,} is the most",
            )


def _images(form: FormData) -> list[UploadFile]:
    images = [
        value for value in form.getlist("images") if isinstance(value, UploadFile)
    ]
    if not images:
        raise HTTPException(400, "no file in the field 'images' of a multipart form")
    return images


def _top(form: FormData) -> int:
    text = form.get("top", "5")
    if (
        not isinstance(text, str)
        or not text.isascii()
        or not text.isdigit()
        or not 1 <= int(text[:9]) <= 1000
    ):
        raise HTTPException(422, "the field 'top' is a number from 1 to 1000")
    return int(text)


class BodyLimits:
    """Middleware that answers 413 to too large a body and 408 to one that is slow."""

    def __init__(self, app: ASGIApp, megabytes: int, seconds: float) -> None:
        self.app = app
        self.most = megabytes << 20
        self.too_large = f"the request is larger than {megabytes} MB"
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # h11 has checked that it is a number
            length = Headers(scope=scope).get("content-length", 0)
            receive = self._limited(receive, int(length))
        await self.app(scope, receive, send)

    def _limited(self, receive: Receive, declared: int) -> Receive:
        """Return `receive` with limits for the body as a whole."""
        deadline = asyncio.get_running_loop().time() + self.seconds
        size = 0
        complete = False

        async def next_message() -> Message:
            nonlocal size, complete
            try:
                with anyio.fail_after(deadline - asyncio.get_running_loop().time()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request came too slowly", CLOSE) from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        async def limited() -> Message:
            if complete:
                return await receive()  # which waits for the client to leave
            message = await next_message()
            if max(size, declared) <= self.most:
                return message
            while not complete and size < DISCARDED * self.most:
                # a client that still sends does not read the answer
                await next_message()
            raise HTTPException(413, self.too_large, CLOSE)

        return limited


class ImpatientProtocol(H11Protocol):
    """HTTP that closes connections whose request line and headers do not arrive in
    time. uvicorn itself waits for them without end, and a client that opens many
    connections would keep all others out.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run the timer while headers are awaited, and only then."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return a server that keeps slow and many connections in bounds."""
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    return uvicorn.Server(config)


def run(app: FastAPI, host: str, port: int) -> None:
    """Serve until the process is interrupted. Port 0 takes a free one. Raises OSError
    if the address can't be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        address = f"[{host}]" if ":" in host else host
        logger.info("serving at http://%s:%d", address, listening.getsockname()[1])
        make_server(app).run(sockets=[listening])
