"""SIGKILL at any moment: what was answered is there, and nothing stands in the way."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from actors.journal import SqliteStore, problems_of
from tests.actors.journal.client import JournalClient
from tests.kit.sizes import examples

KILLS = examples(4)
PRODUCERS = 8
APPENDER = Path(__file__).with_name("appender.py")


def run_and_kill(path: Path, run: int, answers: int) -> tuple[int, list[str]]:
    """Run an appender and kill it in mid-flight after so many answers.

    Return its generation, and every event it was answered for.
    """
    with subprocess.Popen(
        [sys.executable, APPENDER, path, str(run), str(PRODUCERS)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        generation = int(process.stdout.readline())
        seen = [process.stdout.readline() for _ in range(answers)]
        process.kill()
        seen += process.stdout.readlines()
        whole = [line.decode().strip() for line in seen if line.endswith(b"\n")]
    assert len(whole) >= answers, "it ended by itself"
    return generation, whole


def test_every_answered_append_survives_being_killed_at_random_points(path: Path) -> None:
    chance = random.Random(20_260_101)
    answered: list[str] = []
    for run in range(1, KILLS + 1):
        generation, events = run_and_kill(path, run, chance.randrange(1, 1_000))
        assert generation == run
        answered += events
    assert problems_of(path) == ()
    with closing(SqliteStore.open(path)) as store:
        client = JournalClient(store)
        assert store.generation == KILLS + 1
        lost = [event for event in answered if not client.append(event).duplicate]
        assert lost == []
        stored = {row.event_id: row for row in client.unprepared(limit=100_000)}
        assert all(stored[event].payload == event.encode() * 20 for event in answered)  # type: ignore[index]  # ids are strings
        assert len(stored) <= len(answered) + KILLS * PRODUCERS, "at most one unanswered each"


def test_killed_between_offer_and_ack_the_row_is_offered_again_and_marked(path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from actors.journal import SqliteStore\n"
        "from tests.actors.journal.client import JournalClient\n"
        "client = JournalClient(SqliteStore.open(pathlib.Path(sys.argv[1])))\n"
        "for event in ('acked', 'offered', 'pending'):\n"
        "    client.ready(event)\n"
        "client.offer(), client.offer(), client.acked('acked')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert died.returncode == -9
    with closing(SqliteStore.open(path)) as store:
        client = JournalClient(store)
        offers = [client.offer(), client.offer(), client.offer()]
    assert [(offer.event_id, offer.attempt) for offer in offers if offer] == [
        ("offered", 2),
        ("pending", 1),
    ]
