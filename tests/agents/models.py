"""The stand-in model server: four APIs on one loopback port, streaming, on Trio.

``python -m tests.agents.models`` prints its address and serves until interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.agents import dialects
from tests.agents.dialects import Events, Map
from tests.agents.script import Answer, Request, answer

REQUESTS_MAX: Final = 1_000


class Models:
    """The application, and the requests it has answered."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Map]] = []
        self.app = Starlette(
            routes=[
                Route("/v1/messages", self._messages, methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/responses", self._responses, methods=["POST"]),
                Route("/v1/models", self._list),
                Route("/v1beta/models/{call:path}", self._gemini, methods=["POST"]),
                Route("/{rest:path}", self._other, methods=["GET", "POST", "HEAD"]),
            ]
        )

    async def _read(self, http: HttpRequest) -> Map:
        body: Map = json.loads(await http.body())
        self.requests.append((http.url.path, body))
        del self.requests[:-REQUESTS_MAX]
        return body

    async def _messages(self, http: HttpRequest) -> Response:
        body = await self._read(http)
        model = body.get("model", "stand-in")
        return _answer(
            body,
            dialects.read_messages,
            lambda given: dialects.messages_events(given, model),
            lambda text: {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": text},
            },
            whole=_whole_message,
        )

    async def _chat(self, http: HttpRequest) -> Response:
        body = await self._read(http)
        model = body.get("model", "stand-in")
        return _answer(
            body,
            dialects.read_chat,
            lambda given: dialects.chat_events(given, model),
            lambda text: {
                "error": {"message": text, "type": "invalid_request_error", "code": None}
            },
            whole=_whole_chat,
        )

    async def _responses(self, http: HttpRequest) -> Response:
        body = await self._read(http)
        model = body.get("model", "stand-in")
        return _answer(
            body,
            dialects.read_responses,
            lambda given: dialects.responses_events(given, model),
            lambda text: {
                "error": {"message": text, "type": "invalid_request_error", "code": None}
            },
        )

    async def _gemini(self, http: HttpRequest) -> Response:
        body = await self._read(http)
        call = http.path_params["call"]
        if call.endswith(":countTokens"):
            return JSONResponse({"totalTokens": 10})
        streamed = call.endswith(":streamGenerateContent")
        return _answer(
            {**body, "stream": streamed},
            dialects.read_gemini,
            dialects.gemini_events,
            lambda text: {"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}},
            whole=_whole_gemini,
        )

    async def _count(self, http: HttpRequest) -> Response:
        await self._read(http)
        return JSONResponse({"input_tokens": 10})

    async def _list(self, _: HttpRequest) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})

    async def _other(self, http: HttpRequest) -> Response:
        self.requests.append((http.url.path, {}))
        return JSONResponse({"error": {"message": "not served here"}}, status_code=404)


def _answer(
    body: Map,
    read: Callable[[Map], Request],
    events: Callable[[Answer], Events],
    refusal: Callable[[str], Map],
    whole: Callable[[Answer], Map] | None = None,
) -> Response:
    given = answer(read(body))
    if given.error is not None:
        return JSONResponse(refusal(given.error), status_code=400)
    if whole is not None and not body.get("stream", True):
        return JSONResponse(whole(given))
    return StreamingResponse(_paced(events(given)), media_type="text/event-stream")


async def _paced(events: Events) -> AsyncIterator[bytes]:
    for pause_s, text in events:
        await trio.sleep(pause_s)
        yield text.encode()


def _whole_message(given: Answer) -> Map:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "stand-in",
        "content": [{"type": "text", "text": "".join(given.words)}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }


def _whole_chat(given: Answer) -> Map:
    message = {"role": "assistant", "content": "".join(given.words)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": [choice]}


def _whole_gemini(given: Answer) -> Map:
    return dialects.gemini_chunk([{"text": "".join(given.words)}], last=True)


async def serve_models(
    models: Models, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve on a free loopback port until cancelled; started with the base URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.1
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(_serve, models.app, config)
        task_status.started(url)


async def _serve(app: Any, config: Config, *, task_status: trio.TaskStatus[list[str]]) -> None:
    await serve(app, config, task_status=task_status)


async def _main() -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_models, Models())
        sys.stdout.write(f"models on {url}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(_main)
