"""The session of one run of an agent: opened, brought back, or exchanged for an earlier one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import trio

from actors.proxies.errors import AgentFailed
from protocol.agents import acp, acp_sessions
from protocol.agents.acp_options import AgentOptions

START_WITHIN_S: Final = 60.0
"""Some agents fetch themselves first."""
RESUME_WITHIN_S: Final = 30.0
LIST_WITHIN_S: Final = 8.0
"""Less than the daemon waits for either."""
HISTORY_QUIET_S: Final = 0.3
HISTORY_WITHIN_S: Final = 2.0

SendRequest = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""``request(method, params)``; raises AgentFailed."""
FindEarlier = Callable[[], Awaitable[str]]
"""Returns the session that is to be brought back once that is known; empty: none."""


class SessionBegun(msgspec.Struct, frozen=True):
    """How a session began where an earlier one was to be brought back."""

    restored: bool = False
    why_not: str | None = None
    """None where there was none to bring back."""


class EndedResuming(AgentFailed):
    """It ended, or got stuck, over the conversation it was to bring back; the text is how."""


class AgentSession:
    """Which session the agent is in, and what it can do and offers there."""

    def __init__(self, cwd: str, request: SendRequest) -> None:
        self._cwd = cwd
        self._request = request
        self.id = ""
        self.loading = False
        """What is reported is history."""
        self.updated_at = trio.current_time()
        self.options = AgentOptions()
        self.abilities = acp.Abilities()

    async def begin(
        self, find_earlier: FindEarlier, *, read_files: bool, write_files: bool
    ) -> SessionBegun:
        """Initialize, and open a session or bring the earlier one back.

        Raises:
            EndedResuming: begin again, without the earlier one.
            AgentFailed: it does not answer, or refuses.
        """
        params = acp.initialize_params(read_files=read_files, write_files=write_files)
        self.abilities = acp.read_abilities(
            await self._within(START_WITHIN_S, "initialize", params)
        )
        begun = SessionBegun()
        earlier = await find_earlier()
        if earlier:
            try:
                await self._enter(earlier, START_WITHIN_S)
                return SessionBegun(restored=True)
            except AgentFailed as failed:
                begun = SessionBegun(why_not=str(failed))
        try:
            opened = await self._within(START_WITHIN_S, "session/new", self._place)
        except AgentFailed as failed:
            if begun.why_not is None:
                raise
            raise EndedResuming(begun.why_not) from failed
        self.options.take_session(opened)
        session_id = opened.get("sessionId")
        if not isinstance(session_id, str) or not session_id:
            raise AgentFailed("the agent opened a session without an id")
        self.id = session_id
        return begun

    async def resume(self, earlier: str) -> None:
        """Go over to an earlier session; where that fails, the agent stays in this one.

        Raises:
            AgentFailed: it can't, or refuses.
        """
        await self._enter(earlier, RESUME_WITHIN_S)

    async def earlier(self) -> list[acp_sessions.Listed] | None:
        """Return the sessions of this directory, newest first; None: the agent lists none.

        Raises:
            AgentFailed: it can't resume any, or does not answer.
        """
        if not (self.abilities.load_session or self.abilities.resume_session):
            raise AgentFailed(acp_sessions.CANNOT_RESUME)
        if not self.abilities.list_sessions:
            return None
        found: list[acp_sessions.Listed] = []
        cursor = ""
        for _ in range(acp_sessions.PAGES_MAX):
            params = {"cwd": self._cwd} | ({"cursor": cursor} if cursor else {})
            answer = await self._within(LIST_WITHIN_S, "session/list", params)
            page, cursor = acp_sessions.read_page(answer, self._cwd)
            found += page
            if not cursor:
                break
        return acp_sessions.newest_first(found, self.id)

    async def _enter(self, session_id: str, within_s: float) -> None:
        before, failure = self.id, AgentFailed(acp_sessions.CANNOT_RESUME)
        for able, method in (
            (self.abilities.resume_session, "session/resume"),
            (self.abilities.load_session, "session/load"),
        ):
            if not able:
                continue
            self.id, self.loading = session_id, True
            try:
                params = {**self._place, "sessionId": session_id}
                self.options.take_session(await self._within(within_s, method, params))
                await self._wait_for_history()
                return
            except AgentFailed as failed:
                self.id, failure = before, failed
            finally:
                self.loading = False
        raise failure

    async def _wait_for_history(self) -> None:
        """Let pass what is replayed, also after the answer: history is no answer."""
        self.updated_at = trio.current_time()
        with trio.move_on_after(HISTORY_WITHIN_S):
            while (quiet_at := self.updated_at + HISTORY_QUIET_S) > trio.current_time():  # noqa: ASYNC110  # until it is quiet
                await trio.sleep_until(quiet_at)  # until nothing came for so long

    async def _within(
        self, within_s: float, method: str, params: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        with trio.move_on_after(within_s):
            return await self._request(method, params)
        raise AgentFailed(f"the agent did not answer {method} in {within_s:g} s")

    @property
    def _place(self) -> Mapping[str, Any]:
        return {"cwd": self._cwd, "mcpServers": []}
