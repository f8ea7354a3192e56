"""A process that appends as fast as it can and reports what was answered, until it is killed.

``python appender.py JOURNAL NAME PRODUCERS``: prints the generation, then the id of
each event when its answer is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from actors.journal import run, sqlite_store
from actors.kit.mailbox import ask
from actors.messages import journal
from tests.actors.journal.client import append_message

STDOUT = 1


async def main(path: Path, name: str, producers: int) -> None:
    tx, rx = trio.open_memory_channel[journal.JournalMessage](producers)
    with tx, rx:
        async with trio.open_nursery() as nursery:
            opened = await nursery.start(run, sqlite_store(path), rx.clone())
            report(str(opened.generation))
            for producer in range(producers):
                nursery.start_soon(produce, tx, f"{name}.{producer}")


async def produce(tx: trio.MemorySendChannel[journal.JournalMessage], name: str) -> None:
    number = 0
    while True:
        event = f"{name}.{number}"
        answer: journal.Appended | journal.Failed = await ask(
            tx,
            lambda reply, event=event: append_message(  # type: ignore[misc]  # mypy can't infer a lambda with a default
                event, key=f"om_{event}", payload=event.encode() * 20, reply=reply
            ),
            within_s=60.0,
        )
        assert isinstance(answer, journal.Appended), answer
        report(event)
        number += 1


def report(text: str) -> None:
    """Write it at once and whole; a buffer of ours would die with us."""
    os.write(STDOUT, f"{text}\n".encode())


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
