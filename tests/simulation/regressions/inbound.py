"""Undone: what keeps rows from being read twice, answers from being lost, a start from waiting."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from actors import intake as intake_package
from actors.intake.actor import _Intake
from actors.intake.control import Control, Job
from actors.intake.identity import learn_bot
from actors.intake.peers import Peers
from actors.intake.prompts import Prompts
from actors.intake.reading import Reading
from actors.intake.rows import close_row, store
from actors.intake.settings import IntakeSettings
from actors.messages import intake, journal
from protocol.ids import RowId
from protocol.routing.delivery import RowState
from protocol.strings import Text
from tests.simulation.regressions.regression import replaced


@contextmanager
def read_again() -> Iterator[None]:
    """Rows in hand are read again, and a command that is read twice acts twice."""

    def is_never_in_hand(_self: Any, _row_id: RowId) -> bool:
        return False

    def is_always_news(_self: Reading, _row_id: RowId) -> bool:
        return True

    async def carry_out(self: Control, job: Job) -> None:
        text = await job.work()
        await self._to.intake_tx.send(intake.CommandDone(row_id=job.row_id, place=job.place))
        self._nursery.start_soon(self._answer, job, text)

    with (
        replaced(Control, has=is_never_in_hand, _carry_out=carry_out),
        replaced(Prompts, has=is_never_in_hand),
        replaced(Reading, arrive=is_always_news),
    ):
        yield


@contextmanager
def lost_answer() -> Iterator[None]:
    """The row of a command is closed before its answer is out, which nobody waits for."""

    async def carry_out(self: Control, job: Job) -> None:
        claimed: journal.Claimed | journal.Failed | None = await store(
            self._to.journal_tx,
            lambda reply: journal.ClaimCommand(row_id=job.row_id, reply=reply),
        )
        text = await job.work() if claimed is not None else None
        now_ms = self._now_ms()
        await close_row(self._to.journal_tx, job.row_id, RowState.COMMAND, job.what, now_ms)
        await self._to.intake_tx.send(intake.CommandDone(row_id=job.row_id, place=job.place))
        await self._to.intake_tx.send(intake.CommandClosed(row_id=job.row_id))
        if isinstance(text, Text):
            self._answers.send(job, text, job.what)

    with replaced(Control, _carry_out=carry_out):
        yield


@contextmanager
def backlog_first() -> Iterator[None]:
    """The intake is ready when all that the journal holds for it was read."""

    async def run(
        settings: IntakeSettings,
        inbox: trio.MemoryReceiveChannel[intake.IntakeMessage],
        peers: Peers,
        *,
        now_ms: Callable[[], int],
        rng: random.Random,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with inbox:
            async with trio.open_nursery() as nursery:
                actor = _Intake(settings, peers, nursery, now_ms)
                await actor._parts.pairing.load()
                while actor._reading.reads:
                    await actor._read_page()
                    await actor._prompts.make_ready()
                nursery.start_soon(learn_bot, peers, rng)
                task_status.started()
                await actor.serve(inbox)

    with replaced(intake_package, run=run):
        yield
