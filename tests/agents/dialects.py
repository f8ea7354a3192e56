"""The four APIs that agents call their models by: requests read, answers streamed.

Each dialect is a pair of pure functions: ``read_…`` (request body → :class:`Request`) and
``…_events`` (answer → the server-sent events of its stream, each with a pause before it).
Only what the agents need is there; the shapes are those of the public API references.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.agents.script import Answer, Request, Tool

Map = dict[str, Any]
Events = Iterator[tuple[float, str]]
"""Seconds to wait, then the text of one event."""


def _event(data: Map | str, name: str | None = None) -> str:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "") + f"data: {text}\n\n"


def _arguments(schema: Any) -> tuple[str, ...]:
    return tuple((schema or {}).get("properties", {}))


def _text(content: Any) -> str:
    """Join the texts of a content that is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in _parts(content))


def _parts(content: Any) -> list[Map]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _media_type(url: str) -> str:
    """Return the type that a ``data:`` URL names."""
    return url.partition(";")[0].removeprefix("data:")


# ── Anthropic messages ────────────────────────────────────────────────────────


def read_messages(body: Map) -> Request:
    texts: list[str] = []
    pictures: list[str] = []
    result = None
    for message in body["messages"]:
        if message["role"] != "user":
            continue
        result = None
        content = message["content"]
        parts: list[Map] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else content
        )
        for part in parts:
            match part["type"]:
                case "text":
                    texts.append(part["text"])
                    if not part["text"].lstrip().startswith("<"):
                        result = None
                case "image":
                    pictures.append(part["source"].get("media_type", "?"))
                case "tool_result":
                    result = _text(part.get("content"))
    tools = tuple(
        Tool(tool["name"], _arguments(tool.get("input_schema"))) for tool in body.get("tools", ())
    )
    return Request(texts=tuple(texts), result=result, pictures=tuple(pictures), tools=tools)


def messages_events(answer: Answer, model: str) -> Events:
    usage = {"input_tokens": 10, "output_tokens": 1}
    start = {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        },
    }
    yield 0, _event(start, "message_start")
    block = {"type": "text", "text": ""}
    yield (
        0,
        _event(
            {"type": "content_block_start", "index": 0, "content_block": block},
            "content_block_start",
        ),
    )
    for word in answer.words:
        delta = {"type": "text_delta", "text": word}
        yield (
            answer.pause_s,
            _event(
                {"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta"
            ),
        )
    yield 0, _event({"type": "content_block_stop", "index": 0}, "content_block_stop")
    if (call := answer.call) is not None:
        use = {"type": "tool_use", "id": "toolu_1", "name": call.name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call.arguments)}
        for name, event in (
            ("content_block_start", {"index": 1, "content_block": use}),
            ("content_block_delta", {"index": 1, "delta": delta}),
            ("content_block_stop", {"index": 1}),
        ):
            yield 0, _event({"type": name, **event}, name)
    stop = "tool_use" if answer.call else "end_turn"
    last = {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}}
    yield 0, _event({**last, "usage": {"output_tokens": len(answer.words)}}, "message_delta")
    yield 0, _event({"type": "message_stop"}, "message_stop")


# ── OpenAI chat completions ───────────────────────────────────────────────────


def read_chat(body: Map) -> Request:
    texts: list[str] = []
    pictures: list[str] = []
    result = None
    for message in body["messages"]:
        if message["role"] == "tool":
            result = _text(message["content"])
        if message["role"] != "user":
            continue
        result = None
        texts.append(_text(message["content"]))
        pictures += [
            _media_type(part["image_url"]["url"])
            for part in _parts(message["content"])
            if part.get("type") == "image_url"
        ]
    tools = tuple(
        Tool(tool["function"]["name"], _arguments(tool["function"].get("parameters")))
        for tool in body.get("tools") or ()
    )
    return Request(texts=tuple(texts), result=result, pictures=tuple(pictures), tools=tools)


def chat_events(answer: Answer, model: str) -> Events:
    def chunk(delta: Map, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        return _event({**head, "model": model, "choices": [choice]})

    yield 0, chunk({"role": "assistant", "content": ""})
    for word in answer.words:
        yield answer.pause_s, chunk({"content": word})
    if (call := answer.call) is not None:
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        yield (
            0,
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "call_1", "type": "function", "function": function}
                    ]
                }
            ),
        )
    yield 0, chunk({}, "tool_calls" if answer.call else "stop")
    usage = {"prompt_tokens": 10, "completion_tokens": len(answer.words), "total_tokens": 12}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    yield 0, _event({**head, "choices": [], "usage": usage})
    yield 0, _event("[DONE]")


# ── OpenAI responses ──────────────────────────────────────────────────────────


def read_responses(body: Map) -> Request:
    texts: list[str] = []
    pictures: list[str] = []
    result = None
    entries = body["input"]
    if isinstance(entries, str):
        entries = [{"type": "message", "role": "user", "content": entries}]
    for entry in entries:
        kind = entry.get("type", "message")
        if kind in {"function_call_output", "custom_tool_call_output"}:
            output = entry["output"]
            result = output if isinstance(output, str) else _text(output)
        if kind != "message" or entry.get("role") != "user":
            continue
        result = None
        texts.append(_text(entry["content"]))
        pictures += [
            _media_type(part["image_url"])
            for part in _parts(entry["content"])
            if part.get("type") == "input_image"
        ]
    tools = tuple(
        Tool(tool["name"], _arguments(tool.get("parameters")))
        for tool in body.get("tools") or ()
        if tool.get("type") == "function"
    )
    return Request(texts=tuple(texts), result=result, pictures=tuple(pictures), tools=tools)


def responses_events(answer: Answer, model: str) -> Events:
    def event(name: str, **fields: Any) -> str:
        return _event({"type": name, **fields}, name)

    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": model, "output": []}
    yield 0, event("response.created", response={**head, "status": "in_progress"})
    text = "".join(answer.words)
    empty: Map = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    yield 0, event("response.output_item.added", output_index=0, item=empty)
    for word in answer.words:
        yield (
            answer.pause_s,
            event(
                "response.output_text.delta",
                item_id="msg_1",
                output_index=0,
                content_index=0,
                delta=word,
            ),
        )
    part = {"type": "output_text", "text": text, "annotations": []}
    output: list[Map] = [{**empty, "status": "completed", "content": [part]}]
    yield 0, event("response.output_item.done", output_index=0, item=output[0])
    if (call := answer.call) is not None:
        output.append(
            {
                "id": "fc_1",
                "type": "function_call",
                "call_id": "call_1",
                "name": call.name,
                "arguments": json.dumps(call.arguments),
                "status": "completed",
            }
        )
        yield 0, event("response.output_item.added", output_index=1, item=output[1])
        yield 0, event("response.output_item.done", output_index=1, item=output[1])
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(answer.words),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    done = {**head, "status": "completed", "output": output, "usage": usage}
    yield 0, event("response.completed", response=done)


# ── Gemini ────────────────────────────────────────────────────────────────────


def read_gemini(body: Map) -> Request:
    texts: list[str] = []
    pictures: list[str] = []
    result = None
    for content in body["contents"]:
        if content.get("role", "user") not in {"user", "function"}:
            continue
        result = None
        for part in content["parts"]:
            if "text" in part:
                texts.append(part["text"])
            if "inlineData" in part:
                pictures.append(part["inlineData"]["mimeType"])
            if "functionResponse" in part:
                given = part["functionResponse"]["response"]
                result = str(given.get("output", given.get("error", given)))
    tools = tuple(
        Tool(one["name"], _arguments(one.get("parametersJsonSchema") or one.get("parameters")))
        for group in body.get("tools") or ()
        for one in group.get("functionDeclarations", ())
    )
    return Request(texts=tuple(texts), result=result, pictures=tuple(pictures), tools=tools)


def gemini_chunk(parts: list[Map], *, last: bool) -> Map:
    candidate: Map = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "stand-in"}


def gemini_events(answer: Answer) -> Events:
    for word in answer.words:
        yield answer.pause_s, _event(gemini_chunk([{"text": word}], last=False))
    parts: list[Map] = []
    if (call := answer.call) is not None:
        parts = [{"functionCall": {"name": call.name, "args": call.arguments}}]
    yield 0, _event(gemini_chunk(parts or [{"text": ""}], last=True))
