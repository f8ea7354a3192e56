"""``larkd log`` where the daemon is long gone: an older journal, and a log that was rotated."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.actors.journal.test_upgrade import RELEASED, dump
from tests.kit.daemon import environment


def larkd(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "actors.cli", *arguments, "--state-dir", str(state_dir)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def event(name: str, at: str, **about: str) -> str:
    return json.dumps({"timestamp": at, "level": "info", "event": name, **about}) + "\n"


@pytest.mark.parametrize("schema", sorted(RELEASED))
def test_a_week_later_it_is_in_the_rotated_log_and_an_older_journal(
    tmp_path: Path, schema: int
) -> None:
    with closing(sqlite3.connect(tmp_path / "larkd.db")) as db:
        db.executescript(RELEASED[schema].read_text())
    before = dump(tmp_path / "larkd.db")
    received = event("feishu.message.received", "2026-11-14T10:00:00Z", message="om_answered")
    delivered = event("row.delivered", "2026-11-14T10:00:01Z", event_id="e_answered")
    opened = event(
        "feishu.card.opened", "2026-11-14T10:00:02Z", turn="t_1", card="c_1", answers="om_answered"
    )
    closed = event("feishu.card.closed", "2026-11-14T10:00:09Z", turn="t_1", card="c_1")
    other = event("row.delivered", "2026-11-21T10:00:00Z", event_id="e_other")
    (tmp_path / "larkd.log.2").write_text(received)
    (tmp_path / "larkd.log.1").write_text(delivered + "cut off in the mid\n" + opened + closed)
    (tmp_path / "larkd.log").write_text(other)

    done = larkd(tmp_path, "log", "om_answered")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("journal   answered since 1970-01-01")
    assert [line.split()[1] for line in lines if line.startswith("2026")] == [
        "feishu.message.received",
        "row.delivered",
        "feishu.card.opened",
        "feishu.card.closed",
    ]
    assert dump(tmp_path / "larkd.db") == before
    found = json.loads(larkd(tmp_path, "log", "e_answered", "--json").stdout)
    assert (found["row"]["message_id"], len(found["log"])) == ("om_answered", 4)


def test_without_a_message_the_newest_are_listed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "larkd.db")) as db:
        db.executescript(RELEASED[max(RELEASED)].read_text())
    at = "2026-11-14T10:00:00Z"
    stranger = event("feishu.message.refused", at, message="om_2", reason="direct pairing required")
    received = [
        event("feishu.message.received", at, message=f"om_{one}", chat="oc_1", account="default")
        for one in ("answered", "answered", "2", *range(5, 24))
    ]
    (tmp_path / "larkd.log").write_text("".join([*received, stranger]))
    found = json.loads(larkd(tmp_path, "log", "--json").stdout)["messages"]
    assert [one["message_id"] for one in found] == ["om_2", *(f"om_{n}" for n in range(5, 24))]
    assert found[0] == {
        "received_at": 1794650400000,
        "message_id": "om_2",
        "state": "refused: direct pairing required",
        "chat_id": "oc_1",
        "account": "default",
    }
    (tmp_path / "larkd.log").unlink()
    listed = larkd(tmp_path, "log").stdout.splitlines()[1:-1]
    assert ["om_answered", "answered", "oc_3"] in [line.split()[2:] for line in listed], (
        "a journal that was restored has no log beside it"
    )


def test_a_journal_of_a_newer_larkd_is_left_to_that(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "larkd.db")) as db:
        db.execute("PRAGMA user_version = 9999")
    done = larkd(tmp_path, "log", "om_1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "was written by a newer larkd" in done.stderr
