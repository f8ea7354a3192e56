"""What must hold when everything has come to rest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.faults.history import Delivered, Seen, Settled

Map = dict[str, Any]


class Ending(Struct, frozen=True, kw_only=True):
    """All that is looked at when a run is over."""

    history: list[Seen]
    sent: list[Map]
    state: Map
    """What the platform shows at rest."""
    repaired: Map
    """The same after one more start: a mark in doubt may wait for it."""
    database: Path
    status: Map
    attached: list[str]
    expected: list[str]
    agents_at_most: int
    unexpected: list[str]
    is_disturbed: bool
    """Whether an actor crashed or a process ended before the rest."""


def violations(ending: Ending) -> list[str]:
    """Name every promise that was broken; none is an empty list."""
    return [
        *ending.unexpected,
        *_attempts(ending),
        *_rows(ending),
        *_commands(ending),
        *_cards(ending),
        *_text(ending),
        *_marks(ending),
        *_sessions(ending),
    ]


def _attempts(ending: Ending) -> Iterator[str]:
    last: dict[str, int] = {}
    settled: set[str] = set()
    for one in ending.history:
        match one:
            case Settled(event=event):
                settled.add(event)
            case Delivered(event=event, attempt=attempt):
                name = _name(ending, event)
                if event in settled:
                    yield f"{name} was acked and came again with attempt {attempt}"
                if attempt <= last.get(event, 0):
                    yield f"{name} came with attempt {attempt} after {last[event]}"
                last[event] = max(attempt, last.get(event, 0))


def _name(ending: Ending, event: str) -> str:
    for number, sent in enumerate(ending.sent, 1):
        if sent["event_id"] == event:
            return f"message {number} ({sent['text']})"
    return event


def _rows(ending: Ending) -> Iterator[str]:
    """Every accepted message is stored once, and over; every card's ledger is closed."""
    with closing(sqlite3.connect(ending.database)) as db:
        rows = db.execute("SELECT event_id, state FROM inbound WHERE kind = 'message'").fetchall()
        open_cards = db.execute("SELECT count(*) FROM card WHERE closed_at IS NULL").fetchone()[0]
        typing = db.execute("SELECT count(*) FROM typing").fetchone()[0]
    states = dict(rows)
    if len(states) != len(rows):
        yield "an event has two rows"
    delivered = {one.event for one in ending.history if isinstance(one, Delivered)}
    answered = {message.get("parent_id") for message in _from_bot(ending)}
    for sent in ending.sent:
        event, name = sent["event_id"], _name(ending, sent["event_id"])
        state = states.get(event)
        if state is None:
            yield f"{name} was accepted and is not in the journal"
        elif state in {"received", "ready", "offered"}:
            yield f"{name} is {state} at rest"
        is_prompt = sent["text"].startswith("prompt")
        over = event in delivered or sent["message_id"] in answered or sent["recalled"]
        if is_prompt and not over and not _may_be_dropped(ending):
            yield f"{name} was accepted, and neither delivered nor answered"
    if open_cards:
        yield f"{open_cards} cards are open in the ledger at rest"
    if typing:
        yield f"{typing} Typing marks are in the ledger at rest"


def _may_be_dropped(ending: Ending) -> bool:
    return any(sent["text"].startswith("/queue drop") for sent in ending.sent)


def _from_bot(ending: Ending) -> list[Map]:
    return [one for one in ending.state["messages"] if one["sender"]["type"] == "app"]


def _commands(ending: Ending) -> Iterator[str]:
    """Every command is answered once."""
    started = 0
    for number, sent in enumerate(ending.sent, 1):
        if not sent["text"].startswith("/"):
            continue
        answers = [
            one
            for one in _from_bot(ending)
            if one.get("parent_id") == sent["message_id"] and one["msg_type"] != "interactive"
        ]
        cards = [one for one in _from_bot(ending) if one.get("parent_id") == sent["message_id"]]
        if not cards and not sent["recalled"]:
            yield f"command {number} ({sent['text']}) was never answered"
        if len(answers) > 1:
            texts = sorted(json.loads(one["content"]).get("text", "") for one in answers)
            yield f"command {number} ({sent['text']}) was answered {len(answers)} times: {texts}"
        started += sent["text"].startswith("/new")
    if ending.agents_at_most > started:
        yield f"{ending.agents_at_most} agents ran at once, started by {started} commands"


def _cards(ending: Ending) -> Iterator[str]:
    for card in ending.state["cards"]:
        if card["streaming"] and card["message_id"] is not None:
            yield f"card {card['card_id']} is left streaming"


def _text(ending: Ending) -> Iterator[str]:
    shown = json.dumps(ending.state["cards"], ensure_ascii=False) + json.dumps(
        [one["content"] for one in _from_bot(ending)], ensure_ascii=False
    )
    for head in ending.expected:
        if head.strip() not in shown:
            yield f"the text of a turn is shown nowhere: {head.strip()}"


def _marks(ending: Ending) -> Iterator[str]:
    """No Typing mark stays, whatever happened; a waiting mark may, of a process that is gone."""
    for message in ending.repaired["messages"]:
        for reaction in message["reactions"]:
            if reaction["operator_type"] != "app" or message["recalled"]:
                continue
            if reaction["emoji_type"] == "Typing" or not ending.is_disturbed:
                yield f"a {reaction['emoji_type']} mark is left on {message['content'][:40]}"


def _sessions(ending: Ending) -> Iterator[str]:
    if not ending.status:
        yield "no status was to be had at rest"
        return
    known = {one["sessionId"] for one in ending.status["sessions"]}
    there = {name for name in ending.attached if name != "watch"}
    if known != there:
        yield f"status lists {sorted(known)}, connected are {sorted(there)}"
