"""A session asks on a card, a person answers on it, and the session that asked gets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_outbound import bots, channel, given, wait_inbox
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import Map, RawProxy, session

QUESTIONS: list[Map] = [
    {"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]},
    {
        "question": "Which parts?",
        "multiple": True,
        "options": [{"label": "API"}, {"label": "UI", "description": "the pages"}],
    },
]
FORM = {"choice_0": "1", "text_0": "", "choice_1": ["0", "1"], "text_1": "and tests"}
CONTENT = "Which colour?: Blue\nWhich parts?: API, UI; and tests"


async def asked(platform: Platform, boss: RawProxy, chat: Map, **more: Any) -> tuple[str, Map]:
    """Ask; return the question's id and its card's message."""
    before = len(await bots(platform, chat))
    answer = await boss.tool("ask", chat_id=chat["chat_id"], questions=QUESTIONS, **more)
    assert answer["ok"], answer
    assert answer["result"].startswith("Asked as ")
    card = (await bots(platform, chat))[before]
    return answer["result"].removeprefix("Asked as ").removesuffix("."), card


async def submit(platform: Platform, card: Map, **more: Any) -> Map:
    pressed: Map = await platform.post(
        "click", message_id=card["message_id"], name="submit", **{"form_value": FORM, **more}
    )
    return pressed


async def wait_closed(platform: Platform, chat: Map, card: Map, *needles: str) -> None:
    with trio.fail_after(60):
        while True:
            shown = {one["message_id"]: one for one in await bots(platform, chat)}
            text = shown[card["message_id"]]["content"]
            if '"form"' not in text and all(needle in text for needle in needles):
                return
            await trio.sleep(0.02)


async def test_an_answer_reaches_who_asked_and_closes_the_card(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        message = await given(platform, boss, chat, "hi")
        replied_to = message["meta"]["message_id"]
        question, card = await asked(platform, boss, chat, message_id=replied_to)
        assert card["parent_id"] == replied_to
        pressed = await submit(platform, card)
        assert pressed["toast"]["type"] == "success", pressed
        deliver = await boss.until("deliver", lambda one: one["meta"]["kind"] == "answer")
        assert deliver["content"] == CONTENT
        meta = deliver["meta"]
        assert (meta["answers"], meta["message_id"]) == (question, card["message_id"])
        assert (meta["chat_id"], meta["chat_type"]) == (chat["chat_id"], "p2p")
        assert meta["sender_id"] == chat["members"][0]
        await wait_closed(platform, chat, card, "Blue", "API, UI; and tests")
        await boss.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
        await wait_inbox(boss, "hi", CONTENT)
        reply = {"chat_id": chat["chat_id"], "message_id": card["message_id"]}
        assert (await boss.tool("reply", text="thanks", **reply))["ok"]
        await wait_inbox(boss, "hi")


async def test_a_question_is_answered_once_and_an_empty_form_is_no_answer(
    state_dir: Path,
) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "hi")
        _, card = await asked(platform, boss, chat)
        empty = await submit(platform, card, form_value={})
        assert empty["toast"]["type"] == "warning", empty
        tags: list[str] = []

        async def press() -> None:
            with_form = {"larkd": "answer", "question": question_of(card)}
            pressed = await platform.post(
                "click", message_id=card["message_id"], value=with_form, form_value=FORM
            )
            tags.append(pressed["toast"]["type"])

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(press)
        assert sorted(tags) == ["info"] * 4 + ["success"]
        await boss.until("deliver", lambda one: one["meta"]["kind"] == "answer")
        await boss.barrier()
        delivered = [one for one in boss.seen if one["t"] == "deliver"]
        assert [one["meta"]["kind"] for one in delivered] == ["message", "answer"]


def question_of(card: Map) -> str:
    (form,) = json.loads(card["content"])["body"]["elements"]
    (submit_button,) = [one for one in form["elements"] if one["tag"] == "button"]
    question: str = submit_button["behaviors"][0]["value"]["question"]
    return question


async def test_an_answer_waits_over_restarts_for_who_asked_whatever_the_chat_is_on(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir) as daemon,
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await given(platform, boss, chat, "hi")
            question, card = await asked(platform, boss, chat)
            await daemon.kill()
        async with (
            open_daemon(platform, state_dir) as daemon,
            session(state_dir, "other", "session", capabilities=[]) as other,
        ):
            await platform.send(chat, "/use other")
            await given(platform, other, chat, "now you")
            assert (await submit(platform, card))["toast"]["type"] == "success"
            await wait_closed(platform, chat, card, "Blue")
            await daemon.kill()
        async with (
            open_daemon(platform, state_dir),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            deliver = await boss.until("deliver", lambda one: one["meta"]["kind"] == "answer")
            assert (deliver["content"], deliver["meta"]["answers"]) == (CONTENT, question)


async def test_only_who_may_speak_there_answers(state_dir: Path) -> None:
    async with open_platform() as platform:
        team = await platform.chat("group", "Team")
        member = team["members"][0]
        stranger = (await platform.post("users", name="Mallory"))["open_id"]
        groups = {team["chat_id"]: {"requireMention": False, "allowFrom": [member]}}
        async with (
            open_daemon(platform, state_dir, groupPolicy="allowlist", groups=groups),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await given(platform, boss, team, "hi")
            _, card = await asked(platform, boss, team)
            refused = await submit(platform, card, operator=stranger)
            assert refused["toast"]["type"] == "warning", refused
            assert (await submit(platform, card))["toast"]["type"] == "success"
            deliver = await boss.until("deliver", lambda one: one["meta"]["kind"] == "answer")
            assert deliver["meta"]["sender_id"] == member
            assert deliver["meta"]["chat_type"] == "group"


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"questions": QUESTIONS}, "missing or empty required argument: chat_id"),
        ({"chat_id": "oc_1"}, "missing or empty required argument: questions"),
        (
            {"chat_id": "oc_1", "questions": QUESTIONS},
            "session boss was never given a message from chat oc_1",
        ),
    ],
)
async def test_what_cannot_be_asked_is_an_error(state_dir: Path, args: Map, error: str) -> None:
    async with channel(state_dir) as (_, boss):
        answer = await boss.tool("ask", **args)
        assert (answer["ok"], answer["error"]) == (False, error)


async def test_what_cannot_be_elicited_is_an_error_and_leaves_no_card(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        elicitation = {"message": "Go on?", "questions": []}
        good: Map = {"question": "q_" + "a" * 24, "elicitation": elicitation}
        options = [{"label": str(number), "description": "-" * 300} for number in range(300)]
        for wrong, error in (
            ({"question": "q_1"}, "question must be q_ and 24 hexadecimal digits"),
            ({"elicitation": {"url": "file:///etc/passwd"}}, "must be an http or https address"),
            ({"elicitation": {"questions": [{}] * 21}}, "missing required field `question`"),
            ({"elicitation": {"questions": [{"question": "?"}] * 21}}, "20 questions at most"),
            ({"elicitation": {"questions": [{"question": "?", "options": options}]}}, "too long"),
            ({}, "the session was never given a message; there is nobody to ask"),
            ({"chat_id": chat["chat_id"]}, "was never given a message from chat"),
        ):
            answer = await boss.tool("elicit", **(good | wrong))
            assert not answer["ok"]
            assert error in answer["error"], answer
        assert (await boss.tool("withdraw", question=good["question"]))["ok"]
        assert await bots(platform, chat) == []


async def test_a_card_that_was_not_sent_leaves_no_question_open(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "hi")
        await platform.post(
            "faults",
            match={"method": "POST", "template": "/open-apis/im/v1/messages"},
            kind="code",
            code=230018,
            times=1,
        )
        answer = await boss.tool("ask", chat_id=chat["chat_id"], questions=QUESTIONS)
        assert answer["error"].startswith("part 1 was not sent: "), answer
        await asked(platform, boss, chat)
