"""Limits on requests: their size, and the time that a client takes to send them."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import h11
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
# times the limit is read of a body that is too large, before the connection is closed
DISCARDED = 4
CLOSE = {"Connection": "close"}


class BodyLimits:
    """Middleware that answers 413 to too large a body and 408 to one that is slow."""

    def __init__(self, app: ASGIApp, megabytes: int, seconds: float) -> None:
        self.app = app
        self.most = megabytes << 20
        self.too_large = f"the request is larger than {megabytes} MB"
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._limited(receive, _content_length(scope))
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


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # h11 has checked that it is a number
    return 0


class ImpatientProtocol(H11Protocol):
    """HTTP that closes connections whose request line and headers do not arrive in
    time.

    uvicorn itself waits for them without end, and a client that opens many connections
    would keep all others out.
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
