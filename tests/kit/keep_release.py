"""``make keep-release``: keep a journal and a configuration of this version, to upgrade from.

Run it when a version is released, and commit what it writes: ``released/N.sql`` beside the
tests of the journal, where N is the schema, ``released/VERSION.toml`` beside those of the
daemon, and the line of ``releases.json`` that names which schema a version has. What was
released is never written anew.

The journal is the one kept last, brought to today's schema, with an entry in every table.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from actors.journal import schema
from actors.journal.sqlite.opening import migrate
from actors.messages import journal
from protocol import __version__
from protocol.cards.question import AnswerOption, Question
from protocol.ids import AccountId, ChatId, SessionId

TESTS: Final = Path(__file__).parents[1]
JOURNALS: Final = TESTS / "actors" / "journal" / "released"
CONFIGURATIONS: Final = TESTS / "daemon" / "released"
CHANGELOG: Final = TESTS.parent / "CHANGELOG.md"
RELEASES: Final = JOURNALS / "releases.json"
QUESTION: Final = msgspec.msgpack.encode(
    journal.OpenQuestion(
        question_id="q_1",
        session_id=SessionId("s_owner"),
        account=AccountId("default"),
        chat_id=ChatId("oc_1"),
        chat_type="group",
        questions=(Question(question="哪一个？", options=(AnswerOption(label="A"),)),),
        asked_at_ms=1000,
    )
)
ENTRIES: Final[Mapping[str, tuple[object, ...]]] = {
    "turn_place": ("s_owner", "default", "oc_1", "omt_1", "group", "om_topic", "ou_1", 1, "omt_1"),
    "typing": ("om_typing", "t_1", "default", "re_1", 1),
    "question": ("q_1", "s_owner", 1000, QUESTION),
    "conversation": ("claude", "/work", "conv_1", "A title: 多语言", 1000),
}
"""For tables that came after the first dump; a new one gets its line here."""


def releases() -> dict[str, int]:
    """Return the schema of every version that was released."""
    found: dict[str, int] = json.loads(RELEASES.read_text())
    return found


def released() -> list[str]:
    """Return the versions that the change log has a heading for."""
    return re.findall(r"^## \[?(\d[\w.]*)", CHANGELOG.read_text(), re.MULTILINE)


def of_today() -> str:
    """Return the dump of a journal with today's schema.

    Raises:
        LookupError: a table has no entry; its line belongs into ``ENTRIES``.
    """
    last = max(JOURNALS.glob("*.sql"), key=lambda file: int(file.stem))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(last.read_text())
        migrate(db, None, schema.MIGRATIONS)
        for table in tables(db):
            if db.execute(f"SELECT count(*) FROM {table}").fetchone() != (0,):  # noqa: S608  # ours
                continue
            if table not in ENTRIES:
                raise LookupError(f"the table {table} has no entry; give it one in ENTRIES")
            places = ", ".join("?" * len(ENTRIES[table]))
            db.execute(f"INSERT INTO {table} VALUES ({places})", ENTRIES[table])  # noqa: S608  # ours
        pragmas = [
            f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        return "\n".join([*pragmas, *db.iterdump(), ""])


def tables(db: sqlite3.Connection) -> list[str]:
    found = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in found]


def main() -> int:
    known = releases()
    number = len(schema.MIGRATIONS)
    if __version__ in released() and known.get(__version__, number) != number:
        sys.stderr.write(
            f"{__version__} was released with schema {known[__version__]}, and this is {number}:"
            " raise the version in pyproject.toml and protocol/__init__.py first\n"
        )
        return 2
    dump = JOURNALS / f"{number}.sql"
    if not dump.exists():
        dump.write_text(of_today())
    configuration = CONFIGURATIONS / f"{__version__}.toml"
    if not configuration.exists():
        last = max(CONFIGURATIONS.glob("*.toml"), key=lambda file: file.stat().st_mtime)
        configuration.write_text(last.read_text())
    RELEASES.write_text(json.dumps(known | {__version__: number}, indent=2) + "\n")
    for kept in (dump, configuration, RELEASES):
        sys.stdout.write(f"{kept.relative_to(TESTS.parent)}\n")
    sys.stdout.write(f"Add the keys that are new to {configuration.name}, and commit all three.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
