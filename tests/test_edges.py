"""The list of late effects in ``actors/README.md`` names every message, and no other."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.test_layers import ROOT

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
