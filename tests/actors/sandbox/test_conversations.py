"""Topics, forms, callbacks' cards, quoted cards, files and speech, as the platform has them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trio

from tests.actors.sandbox.test_conformance import CARDS, MESSAGES, Setup, card, markdown, open_app
from tests.actors.sandbox.test_long_connection import Bot, open_bot

FORM = {
    "tag": "form",
    "name": "question",
    "elements": [
        {"tag": "input", "name": "why", "required": True},
        {"tag": "select_static", "name": "size", "initial_option": "s", "options": []},
        {"tag": "button", "name": "go", "form_action_type": "submit"},
    ],
}
TEXT = {"msg_type": "text", "content": '{"text":"x"}'}


async def data(app: Setup, method: str, path: str, **body: Any) -> Any:
    answer = (await app.call(method, path, **body)).json()
    assert answer["code"] == 0, answer
    return answer["data"]


async def send_card(app: Setup, shown: str) -> dict[str, Any]:
    """Send an entity; return its message, with ``card_id``."""
    made = await data(app, "POST", CARDS, type="card_json", data=shown)
    content = json.dumps({"type": "card", "data": made})
    chat = await app.platform.chat()
    path = f"{MESSAGES}?receive_id_type=chat_id"
    body = {"receive_id": chat["chat_id"], "msg_type": "interactive", "content": content}
    return {**(await data(app, "POST", path, **body)), **made}


# ── topics ──────────────────────────────────────────────────────────────────


async def test_a_reply_opens_a_topic_and_later_ones_stay_in_it() -> None:
    async with open_app() as app:
        chat = await app.platform.chat("group", "Team")
        first = await app.platform.send(chat, "first", mention_bot=True)
        path = f"{MESSAGES}/{first['message_id']}/reply"
        opened = await data(app, "POST", path, **TEXT, reply_in_thread=True)
        assert opened["thread_id"].startswith("omt_")
        assert opened["root_id"] == opened["parent_id"] == first["message_id"]
        nested = await data(app, "POST", f"{MESSAGES}/{opened['message_id']}/reply", **TEXT)
        assert nested["thread_id"] == opened["thread_id"]
        assert nested["parent_id"] == first["message_id"], "in a topic both are its first message"
        more = await app.platform.send(chat, "more", thread_id=opened["thread_id"])
        event = await app.platform.get(f"events/{more['event_id']}")
        message = event["envelope"]["event"]["message"]
        assert message["thread_id"] == opened["thread_id"]
        assert message["root_id"] == message["parent_id"] == first["message_id"]
        listed = await data(
            app,
            "GET",
            f"{MESSAGES}?container_id_type=thread&container_id={opened['thread_id']}&page_size=3",
        )
        assert len(listed["items"]) == 3
        assert listed["has_more"]


@pytest.mark.parametrize(
    ("topics", "mode", "message_type"),
    [("topic_mode", "topic", "chat"), ("every_message", "group", "thread")],
)
async def test_where_every_message_is_a_topic(topics: str, mode: str, message_type: str) -> None:
    async with open_app() as app:
        chat = await app.platform.post("chats", type="group", name="T", topics=topics)
        shown = await data(app, "GET", f"/open-apis/im/v1/chats/{chat['chat_id']}")
        assert (shown["chat_mode"], shown["group_message_type"]) == (mode, message_type)
        path = f"{MESSAGES}?receive_id_type=chat_id"
        sent = await data(app, "POST", path, receive_id=chat["chat_id"], **TEXT)
        other = await data(app, "POST", path, receive_id=chat["chat_id"], **TEXT)
        assert sent["thread_id"] != other["thread_id"]
        assert "root_id" not in sent


async def test_a_chat_without_topics_refuses_them() -> None:
    async with open_app() as app:
        chat = await app.platform.post("chats", type="group", name="T", topics="forbidden")
        first = await app.platform.send(chat, "first")
        path = f"{MESSAGES}/{first['message_id']}/reply"
        assert await app.code("POST", path, **TEXT, reply_in_thread=True) == 230071
        assert await app.code("POST", path, **TEXT) == 0


# ── forms and callbacks ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, 200530),
        ({"elements": [*FORM["elements"], {"tag": "input"}]}, 200530),
        ({"elements": [*FORM["elements"], {"tag": "input", "name": "why"}]}, 200530),
        ({"elements": FORM["elements"][:2]}, 200220),
        ({"elements": [*FORM["elements"], {"tag": "input", "name": "x", "colour": 1}]}, 200621),
    ],
)
async def test_a_form_the_platform_does_not_take(change: dict[str, Any], code: int) -> None:
    async with open_app() as app:
        shown = card({**FORM, **change})
        assert await app.code("POST", CARDS, type="card_json", data=shown) == code
        assert await app.code("POST", CARDS, type="card_json", data=card(FORM)) == 0


async def press(app: Setup, bot: Bot, answer: Any, **click: Any) -> tuple[dict[str, Any], Any]:
    """Press; answer the callback as the bot; return what it received, and what was shown."""
    shown: list[Any] = []

    async def clicked() -> None:
        shown.append(await app.platform.post("click", **click))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clicked)
        frame = await bot.frame()
        await bot.answer(frame, 200, answer)
    return json.loads(frame.payload)["event"], shown[0]


async def test_a_submitted_form_carries_its_values_and_the_answer_its_card() -> None:
    async with open_app() as app, open_bot(app.platform) as bot:
        message = await send_card(app, card(FORM, streaming_mode=False))
        click = {"card_id": message["card_id"], "name": "go"}
        refused = await app.platform.http.post(
            f"{app.platform.base_url}/sandbox/click", json={**click, "form_value": {}}
        )
        assert "why is required" in refused.text
        after = json.loads(card(markdown("thanks"), streaming_mode=False))
        event, shown = await press(
            app, bot, {"card": {"type": "raw", "data": after}}, **click, form_value={"why": "so"}
        )
        assert event["action"]["form_value"] == {"why": "so", "size": "s"}
        assert (event["action"]["name"], event["action"]["tag"]) == ("go", "button")
        assert event["context"]["open_message_id"] == message["message_id"]
        assert shown["code"] == 0
        (held,) = await app.platform.cards()
        assert held["card"]["body"]["elements"][0]["content"] == "thanks"


@pytest.mark.parametrize(
    ("answer", "streaming", "code", "text"),
    [
        ({"type": "raw", "data": {"schema": "2.0", "body": {"colour": 1}}}, False, 200673, "a"),
        ({"type": "raw", "data": {"elements": []}}, False, 200830, "a"),
        ({"type": "odd"}, False, 200673, "a"),
        ({"type": "raw", "data": json.loads(card(markdown("b")))}, False, 0, "b"),
        ({"type": "raw", "data": json.loads(card(markdown("b")))}, True, 0, "a"),
    ],
)
async def test_what_becomes_of_an_answers_card(
    answer: Any, code: int, text: str, *, streaming: bool
) -> None:
    button = {"tag": "button", "behaviors": [{"type": "callback", "value": {"a": 1}}]}
    async with open_app() as app, open_bot(app.platform) as bot:
        message = await send_card(app, card(markdown("a"), button, streaming_mode=streaming))
        _, shown = await press(app, bot, {"card": answer}, card_id=message["card_id"])
        assert shown["code"] == code
        (held,) = await app.platform.cards()
        assert held["card"]["body"]["elements"][0]["content"] == text


# ── quotes, files, speech ───────────────────────────────────────────────────


async def test_a_card_is_quoted_short_or_whole_as_it_is_now() -> None:
    async with open_app() as app:
        message = await send_card(app, card(markdown("a"), {"tag": "hr"}))
        content = f"{CARDS}/{message['card_id']}/elements/answer/content"
        await data(app, "PUT", content, content="ab", sequence=1)
        path = f"{MESSAGES}/{message['message_id']}"
        (short,) = (await data(app, "GET", path))["items"]
        rows = json.loads(short["body"]["content"])["elements"]
        assert rows == [[{"tag": "text", "text": "ab"}], [{"tag": "hr"}]]
        whole_path = f"{path}?card_msg_content_type=user_card_content"
        (whole,) = (await data(app, "GET", whole_path))["items"]
        assert json.loads(whole["body"]["content"])["schema"] == "2.0"


async def test_an_entity_is_found_by_its_message() -> None:
    async with open_app() as app:
        message = await send_card(app, card())
        found = await data(app, "POST", f"{CARDS}/id_convert", message_id=message["message_id"])
        assert found == {"card_id": message["card_id"]}
        assert await app.code("POST", f"{CARDS}/id_convert", message_id="om_x") == 10002


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"schema":"2.0","body":{"elements":[]}}', 0),
        ('{"schema":"2.0","body":{"elements":[{"tag":"note"}]}}', 230099),
        ("{", 230001),
        (json.dumps({"schema": "2.0", "body": {"padding": "x" * 31_000}}), 230025),
    ],
)
async def test_a_patched_card_is_held_against_the_schema_too(content: str, code: int) -> None:
    async with open_app() as app:
        chat = await app.platform.chat()
        body = {"receive_id": chat["chat_id"], "msg_type": "interactive", "content": card()}
        sent = await data(app, "POST", f"{MESSAGES}?receive_id_type=chat_id", **body)
        assert await app.code("PATCH", f"{MESSAGES}/{sent['message_id']}", content=content) == code


async def upload(app: Setup, name: str, kind: str) -> str:
    answer = await app.platform.http.post(
        f"{app.platform.base_url}/open-apis/im/v1/files",
        data={"file_type": kind, "file_name": name},
        files={"file": ("x", b"bytes")},
        headers={"Authorization": f"Bearer {app.token}"},
    )
    return str(answer.json()["data"]["file_key"])


async def test_files_keep_their_names_both_ways() -> None:
    async with open_app() as app:
        chat = await app.platform.chat()
        content = base64.b64encode(b"words").decode()
        uploaded = await app.platform.post("upload", kind="stream", name="笔记.txt", base64=content)
        body = json.dumps({"file_key": uploaded["key"], "file_name": "笔记.txt"})
        sent = await app.platform.send(chat, "", message_type="file", content=body)
        path = f"{MESSAGES}/{sent['message_id']}/resources/{uploaded['key']}?type=file"
        answer = await app.call("GET", path)
        assert answer.content == b"words"
        assert "filename*=UTF-8''%E7%AC%94%E8%AE%B0.txt" in answer.headers["content-disposition"]
        await app.platform.post("recall", message_id=sent["message_id"])
        assert await app.code("GET", path) == 230110

        to = {"receive_id": chat["chat_id"]}
        send = f"{MESSAGES}?receive_id_type=chat_id"
        foreign = {"msg_type": "file", "content": json.dumps({"file_key": uploaded["key"]})}
        assert await app.code("POST", send, **to, **foreign) == 230017
        own = json.dumps({"file_key": await upload(app, "a.pdf", "pdf")})
        assert await app.code("POST", send, **to, msg_type="file", content=own) == 0
        assert await app.code("POST", send, **to, msg_type="audio", content=own) == 230055
        voice = json.dumps({"file_key": await upload(app, "a.opus", "opus")})
        assert await app.code("POST", send, **to, msg_type="audio", content=voice) == 0


async def test_speech_becomes_the_text_that_was_set() -> None:
    async with open_app() as app:
        await app.platform.post("speech", text="good morning")
        path = "/open-apis/speech_to_text/v1/speech/file_recognize"
        config = {"file_id": "a" * 16, "format": "pcm", "engine_type": "16k_auto"}
        speech = {"speech": base64.b64encode(b"\0\0" * 100).decode()}
        recognised = await data(app, "POST", path, speech=speech, config=config)
        assert recognised == {"recognition_text": "good morning"}
        for wrong in ({"format": "opus"}, {"file_id": "short"}):
            code = await app.code("POST", path, speech=speech, config={**config, **wrong})
            assert code == 99992402
        await app.platform.post("scopes", missing=["speech_to_text:speech"])
        assert await app.code("POST", path, speech=speech, config=config) == 99991672
