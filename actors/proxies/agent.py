"""One agent over ACP: its process, its session, its prompts, and how it is stopped.

Only what it reports while a prompt is in flight is shown: the history it replays on
loading a session is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import trio

from actors.proxies.agent_files import AgentFiles
from actors.proxies.agent_process import AgentProcess
from actors.proxies.errors import Disconnected
from actors.proxies.rpc import MethodUnknown, Peer, PeerError, PeerGone
from protocol.agents import acp
from protocol.wire import messages as wire

START_WITHIN_S: Final = 60.0
"""Some agents fetch themselves first."""
CANCEL_WITHIN_S: Final = 5.0
SETTLE_WITHIN_S: Final = 1.0


class AgentFailed(Exception):
    """The agent could not do what was asked; the text is for who asked."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    command: tuple[str, ...]
    cwd: str
    extra_environment: dict[str, str] = {}
    reads_files: bool = False
    writes_files: bool = False
    idle_within_s: float = 900.0
    """How long a prompt may go on without a word from the agent."""

    def __repr__(self) -> str:
        return f"AgentSettings({self.command[0]} in {self.cwd})"


class Listener(msgspec.Struct, frozen=True):
    """Who is sent what the agent reports of the prompt in flight. Both may raise Disconnected."""

    turn_id: str
    update: Callable[[acp.Update], Awaitable[None]]
    question: Callable[[acp.Question], Awaitable[wire.PermissionVerdict]]


class _Prompt:
    """A prompt in flight: it goes on when nobody waits for it any more."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.stop_reason: object = None
        self.failure: AgentFailed | None = None


class Agent:
    """One run of the agent."""

    def __init__(
        self, settings: AgentSettings, process: AgentProcess, nursery: trio.Nursery
    ) -> None:
        self._settings = settings
        self._process = process
        self._nursery = nursery
        self._files = AgentFiles(settings.cwd)
        self._peer = Peer(
            process.stdin,
            process.stdout,
            on_notification=self._notified,
            on_request=self._requested,
        )
        self._listener: Listener | None = None
        self._asking: set[trio.CancelScope] = set()
        self._prompt: _Prompt | None = None
        self.abilities = acp.Abilities()
        self.session_id = ""
        self.over = trio.Event()
        """It closed its output, or is of no more use: its process is to be ended."""

    async def read(self) -> None:
        """Read from the agent until it closes its output."""
        await self._peer.run()
        self.over.set()

    # ── its session ─────────────────────────────────────────────────────────

    async def begin(self, earlier_session: str) -> None:
        """Initialize, and open a session or resume the earlier one.

        Raises:
            AgentFailed: it does not answer, or refuses.
        """
        params = acp.initialize_params(
            read_files=self._settings.reads_files, write_files=self._settings.writes_files
        )
        self.abilities = acp.read_abilities(await self._start("initialize", params))
        place = {"cwd": self._settings.cwd, "mcpServers": []}
        if earlier_session and await self._resume(earlier_session, place):
            self.session_id = earlier_session
            return
        session_id = (await self._start("session/new", place)).get("sessionId")
        if not isinstance(session_id, str) or not session_id:
            raise AgentFailed("the agent opened a session without an id")
        self.session_id = session_id

    async def _resume(self, session_id: str, place: Mapping[str, Any]) -> bool:
        for able, method in (
            (self.abilities.resume_session, "session/resume"),
            (self.abilities.load_session, "session/load"),
        ):
            if able:
                try:
                    await self._start(method, {**place, "sessionId": session_id})
                except AgentFailed:
                    continue
                return True
        return False

    async def _start(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        with trio.move_on_after(START_WITHIN_S):
            return await self._request(method, params)
        raise AgentFailed(f"the agent did not answer {method} in {START_WITHIN_S:g} s")

    async def _request(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            result = await self._peer.request(method, params)
        except PeerError as refused:
            text = acp.refusal_text(refused.code, str(refused), self.abilities)
            raise AgentFailed(text) from refused
        except PeerGone as gone:
            self.over.set()
            raise AgentFailed(await self._process.how_it_ended()) from gone
        return result if isinstance(result, Mapping) else {}

    # ── its prompts ─────────────────────────────────────────────────────────

    async def prompt(
        self,
        blocks: list[dict[str, Any]],
        listener: Listener,
        grace_s: Callable[[], float] = lambda: CANCEL_WITHIN_S,
    ) -> acp.Ending:
        """Have one prompt answered.

        Cancelled, it is called off: the agent is notified once, its open questions are
        answered, and it has five seconds, or as many as *grace_s* says then; one that
        goes on after that is ended.

        Raises:
            AgentFailed: it failed, ended, or said nothing for too long.
        """
        prompt = self._prompt = _Prompt()
        self._listener = listener
        self._nursery.start_soon(self._ask_prompt, blocks, prompt)
        try:
            await self._wait(prompt)
        except trio.Cancelled:
            with trio.CancelScope(deadline=trio.current_time() + grace_s(), shield=True):
                await self._call_off(prompt)
            if not prompt.done.is_set():
                self.over.set()
            raise
        finally:
            self._listener = None
        if prompt.failure is not None:
            raise prompt.failure
        return acp.ending(prompt.stop_reason)

    async def _ask_prompt(self, blocks: list[dict[str, Any]], prompt: _Prompt) -> None:
        params = {"sessionId": self.session_id, "prompt": blocks}
        try:
            prompt.stop_reason = (await self._request("session/prompt", params)).get("stopReason")
        except AgentFailed as failure:
            prompt.failure = failure
        except trio.Cancelled:
            prompt.failure = AgentFailed("the agent was ended")
            raise
        finally:
            prompt.done.set()

    async def settle(self) -> None:
        """Let the prompt in flight learn how the agent ended, for a second at most."""
        if self._prompt is not None:
            with trio.move_on_after(SETTLE_WITHIN_S):
                await self._prompt.done.wait()

    async def _wait(self, prompt: _Prompt) -> None:
        idle_s = self._settings.idle_within_s
        while not prompt.done.is_set():
            quiet_until = self._peer.received_at + idle_s
            if trio.current_time() >= quiet_until and not self._asking:
                self.over.set()
                raise AgentFailed(f"the agent said nothing for {idle_s:g} s and was ended")
            with trio.move_on_at(max(quiet_until, trio.current_time() + 1)):
                await prompt.done.wait()

    async def _call_off(self, prompt: _Prompt) -> None:
        self._listener = None
        for asked in list(self._asking):
            asked.cancel(reason="the prompt was called off")
        try:
            await self._peer.notify("session/cancel", {"sessionId": self.session_id})
        except PeerGone:
            return
        await prompt.done.wait()

    # ── what it reports and asks ───────────────────────────────────────────────

    async def _notified(self, method: str, params: Mapping[str, Any]) -> None:
        update = params.get("update")
        if (
            method != "session/update"
            or params.get("sessionId") != self.session_id
            or not isinstance(update, Mapping)
        ):
            return
        listener = self._listener
        if listener is None:
            return
        try:
            for one in acp.translate(update, listener.turn_id):
                await listener.update(one)
        except Disconnected:
            self._listener = None  # the daemon has ended the turn

    async def _requested(self, method: str, params: Mapping[str, Any]) -> Any:
        if method == "session/request_permission":
            return acp.outcome(await self._ask_permission(params))
        if method == "fs/read_text_file" and self._settings.reads_files:
            return {"content": await trio.to_thread.run_sync(self._files.read, params)}
        if method == "fs/write_text_file" and self._settings.writes_files:
            await trio.to_thread.run_sync(self._files.write, params)
            return {}
        raise MethodUnknown

    async def _ask_permission(self, params: Mapping[str, Any]) -> wire.PermissionVerdict | None:
        question, listener = acp.read_question(params), self._listener
        if question is None or listener is None:
            return None
        verdict: wire.PermissionVerdict | None = None
        scope = trio.CancelScope()
        self._asking.add(scope)
        try:
            with scope:
                verdict = await listener.question(question)
        except Disconnected:
            return None
        finally:
            self._asking.discard(scope)
        return verdict
