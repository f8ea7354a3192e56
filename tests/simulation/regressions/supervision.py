"""Undone: what lets the children of one supervisor start, stop and restart side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from actors.kit.supervisor import Child, Supervisor, _calls_for_restart
from tests.simulation.regressions.regression import replaced


@contextmanager
def one_keeper() -> Iterator[None]:
    """One task starts, restarts and stops every child, one after another."""

    async def keep_all(
        self: Supervisor, nursery: trio.Nursery, task_status: trio.TaskStatus[None]
    ) -> None:
        serving = {child.name for child in self._children}
        try:
            for child in self._children:
                await start(self, nursery, child)
            task_status.started()
            while serving:
                await self._someone_ended.wait()
                self._someone_ended = trio.Event()
                for child in self._children:
                    if child.name not in self._crashes:
                        continue
                    crash = self._crashes.pop(child.name)
                    if not _calls_for_restart(child, crash):
                        serving.discard(child.name)
                        continue
                    self._spend(child, crash)
                    await trio.sleep(self._pause_s(child))
                    await start(self, nursery, child)
        finally:
            for child in reversed(self._children):
                await self._stop(child)  # it shields itself

    async def start(self: Supervisor, nursery: trio.Nursery, child: Child) -> None:
        try:
            await self._start(nursery, child)
        except Exception as failure:  # noqa: BLE001  # a failed start is a crash
            self._report("start failed", child.name, failure)
            self._crashes[child.name] = failure
            self._someone_ended.set()
        self._settled[child.name].set()

    with replaced(Supervisor, _keep_all=keep_all):
        yield
