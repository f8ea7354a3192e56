"""What must hold when everything has come to rest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from protocol.routing import history
from tests.faults.history import Delivered, Seen
from tests.simulation.plan import PROMPTS

Map = dict[str, Any]
BINDING: Final = ("/use", "/new")
STOPPED: Final = "Stopped"


class Ending(Struct, frozen=True, kw_only=True):
    """All that is looked at when a run is over."""

    history: list[Seen]
    sent: list[Map]
    state: Map
    """What the platform shows at rest."""
    repaired: Map
    """The same after one more start: a mark in doubt may wait for it."""
    database: Path
    stay: Sequence[str]
    """What else may be in its directory, as :mod:`fnmatch` reads it."""
    status: Map
    attached: list[str]
    expected: list[str]
    agents_at_most: int
    unexpected: list[str]
    carried: set[str]
    """Messages that were part of a prompt that was given to a session."""
    is_disturbed: bool
    """Whether an actor crashed or a process ended before the rest."""


def violations(ending: Ending) -> list[str]:
    """Name every promise that was broken; none is an empty list."""
    return [
        *ending.unexpected,
        *_rows(ending),
        *_order(ending),
        *_drops(ending),
        *_commands(ending),
        *_stops(ending),
        *_cards(ending),
        *_requests(ending),
        *_text(ending),
        *_marks(ending),
        *_sessions(ending),
        *_files(ending),
    ]


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
        requests = db.execute("SELECT count(*) FROM approval").fetchone()[0]
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
        is_prompt = sent["text"].startswith((*PROMPTS, "image", "file"))
        over = (
            event in delivered
            or sent["message_id"] in ending.carried
            or sent["message_id"] in answered
            or sent["recalled"]
        )
        if is_prompt and not over and not _may_be_dropped(ending):
            yield f"{name} was accepted, and neither delivered nor answered"
    if open_cards:
        yield f"{open_cards} cards are open in the ledger at rest"
    if requests:
        yield f"{requests} requests for permission are in the ledger at rest"
    if typing:
        yield f"{typing} Typing marks are in the ledger at rest"


def _may_be_dropped(ending: Ending) -> bool:
    return any(sent["text"].startswith("/queue ") for sent in ending.sent)


def _order(ending: Ending) -> Iterator[str]:
    """First deliveries of a chat follow the receipt, unless the chat went to and fro."""
    with closing(sqlite3.connect(ending.database)) as db:
        received = dict(db.execute("SELECT event_id, row_id FROM inbound"))
    chat_of = {sent["event_id"]: sent["chat"] for sent in ending.sent}
    moved = {sent["chat"] for sent in ending.sent if sent["text"].startswith(BINDING)}
    newest: dict[str, int] = {}
    met: set[str] = set()
    for one in ending.history:
        if not isinstance(one, Delivered) or one.event in met:
            continue
        if one.event not in chat_of or one.event not in received:
            continue  # a comment
        met.add(one.event)
        chat, row = chat_of[one.event], received[one.event]
        if chat not in moved and row < newest.get(chat, 0):
            yield f"{_name(ending, one.event)} was received before another and delivered after it"
        newest[chat] = max(row, newest.get(chat, 0))


def _drops(ending: Ending) -> Iterator[str]:
    """A command that drops one prompt drops one, of one or several messages, once."""
    if any(sent["text"] == "/queue clear" for sent in ending.sent):
        return
    with closing(sqlite3.connect(ending.database)) as db:
        dropped = db.execute(
            "SELECT count(DISTINCT coalesce(joined_to, row_id)) FROM inbound WHERE note = ?1",
            (history.DROPPED_FROM_QUEUE,),
        ).fetchone()[0]
    drops = sum(sent["text"].startswith("/queue drop") for sent in ending.sent)
    if dropped > drops:
        yield f"{dropped} prompts were dropped by {drops} commands"


def _stops(ending: Ending) -> Iterator[str]:
    """A stop word is answered by a message, or by a card of its chat that shows Stopped."""
    chat_of = {message["message_id"]: message["chat_id"] for message in ending.state["messages"]}
    answered = {message.get("parent_id") for message in _from_bot(ending)}
    stopped = [
        chat_of[card["message_id"]]
        for card in ending.state["cards"]
        if card["message_id"] is not None and STOPPED in json.dumps(card["card"])
    ]
    words = {one["message_id"] for one in ending.sent if one["text"] == "stop"}
    stopped += [
        message["chat_id"]
        for message in _from_bot(ending)
        if STOPPED in message["content"] and message.get("parent_id") not in words
    ]
    silent = [
        chat_of[sent["message_id"]]
        for sent in ending.sent
        if sent["text"] == "stop" and not sent["recalled"] and sent["message_id"] not in answered
    ]
    for chat in sorted(set(silent)):
        if silent.count(chat) > stopped.count(chat):
            yield f"{silent.count(chat)} stop words of {chat} are answered by nothing"


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


def _requests(ending: Ending) -> Iterator[str]:
    """No request for permission can be pressed any more when its turn is over."""
    for message in _from_bot(ending):
        if '"option_0"' in message["content"]:
            yield f"a request for permission is left open in {message['chat_id']}"


def _text(ending: Ending) -> Iterator[str]:
    shown = json.dumps([ending.state["cards"], ending.state["comments"]], ensure_ascii=False)
    shown += json.dumps([one["content"] for one in _from_bot(ending)], ensure_ascii=False)
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


def _files(ending: Ending) -> Iterator[str]:
    """Nothing else was left on disk."""
    root = ending.database.parent
    messages = {sent["message_id"] for sent in ending.sent}
    for path in sorted(one for one in root.rglob("*") if one.is_file()):
        name = path.relative_to(root)
        *_node, folder, message, file = ("", "", *name.parts)
        is_carried = folder == "attachments" and message in messages and file[0].isdigit()
        stays = path == ending.database or any(fnmatch(str(name), one) for one in ending.stay)
        if not stays and not is_carried:
            yield f"the file {name} is left over"
