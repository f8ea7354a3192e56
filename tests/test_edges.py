"""The list of late effects in ``actors/README.md`` names every message, and no other."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.test_layers import ROOT

SENDERS: Final = {
    "app": ("shutdown", "holding"),
    "feishu": ("gateway", "card"),
    "journal": ("pruning",),
    "lanes": ("lane", "lanes"),
    "links": ("link", "links"),
    "turns": ("card", "repair"),
}
"""How the table of edges names who sends, where that is not the name of the folder."""
LISTED = re.compile(r"`(?:(\w+)\.)?([A-Z]\w+)`")
NO_MESSAGES: Final = {
    "ActorGone",
    "Answered",
    "Cancel",
    "DownloadResource",
    "GetChat",
    "GetChatMembers",
    "Offer",
    "PermissionVerdict",
    "PreparedRow",
    "Resume",
    "StoredEvent",
}
"""An exception, what some messages carry, and what crosses an edge as it is."""


def messages() -> dict[str, str]:
    """Return every class that an actor accepts, with its receiver."""
    folder = ROOT / "actors" / "messages"
    return {
        node.name: path.relative_to(folder).parts[0].removesuffix(".py")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Message" for base in node.bases)
    }


def sent() -> set[tuple[str, str]]:
    """Return the folder of each actor with each message that is made there."""
    receivers = messages()
    found = set()
    for path in (ROOT / "actors").rglob("*.py"):
        folder = path.relative_to(ROOT / "actors").parts[0]
        if folder in {"messages", "cli", "host", "proxies", "sandbox"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)):
                    if receivers.get(name) == module:
                        found.add((folder, name))
                case _:
                    pass
    return found


def edges() -> list[tuple[str, str]]:
    """Return who sends, and the rest, of each row of the tables of edges."""
    rows = []
    for line in (ROOT / "actors" / "README.md").read_text().splitlines():
        who, _, rest = line.removeprefix("| ").partition(" | ")
        if line.startswith("| ") and "→" in who:
            rows.append((" ".join(part.rpartition("→")[0] for part in who.split(";")), rest))
    return rows


def test_every_message_is_on_an_edge_of_its_sender() -> None:
    """Or among what an actor's own children report to it."""
    text = (ROOT / "actors" / "README.md").read_text()
    own = text[text.index("What an actor's own children") : text.index("## Delivery is pulled")]
    missing = [
        f"{folder}: {name}"
        for folder, name in sorted(sent())
        if f"`{name}`" not in own
        and not any(
            f"`{name}`" in rest
            and re.search(rf"\b(?:{'|'.join(SENDERS.get(folder, (folder,)))})\b", who)
            for who, rest in edges()
        )
    ]
    assert missing == []


def test_every_message_is_listed_with_what_makes_it_safe() -> None:
    listed = {name for _, name in LISTED.findall((ROOT / "actors" / "README.md").read_text())}
    assert sorted(messages().keys() - listed) == [], "missing from the list"
    assert sorted(listed - messages().keys() - NO_MESSAGES) == [], "listed, and sent by nobody"


def test_a_message_is_listed_under_its_receiver() -> None:
    receivers = messages()
    text = (ROOT / "actors" / "README.md").read_text()
    wrong = [
        f"{receiver}.{name}"
        for receiver, name in LISTED.findall(text)
        if receiver
        and name in receivers
        and receivers[name] != receiver.removesuffix("s")
        and receivers[name] != receiver
    ]
    assert wrong == []
