"""One agent over ACP: its process, its session, its prompts, and how it is stopped.

Only what it reports while a prompt is in flight is shown: the history it replays on
loading a session is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import trio

from actors.proxies.agent_files import AgentFiles
from actors.proxies.agent_process import AgentProcess
from actors.proxies.agent_session import AgentSession, FindEarlier, SessionBegun
from actors.proxies.elicitation import AskPerson, Elicitations
from actors.proxies.errors import (
    AgentEnded,
    AgentFailed,
    AgentUnheard,
    Disconnected,
    LoginWanted,
)
from actors.proxies.rpc import MethodUnknown, Peer, PeerError, PeerGone
from protocol import foreign
from protocol.agents import acp
from protocol.agents.acp_steps import step
from protocol.wire import messages as wire

CANCEL_WITHIN_S: Final = 5.0
CHOOSE_WITHIN_S: Final = 8.0
"""Less than the daemon waits for it."""
SETTLE_WITHIN_S: Final = 1.0
LOOK_EVERY_S: Final = 1.0
"""Whether it waits for people is looked at so often."""
CALLS_KNOWN_MAX: Final = 64
"""Tool calls of which it is kept what they are, for updates that carry only a change."""


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
    """Who is sent what the agent reports of the prompt in flight. All may raise Disconnected."""

    turn_id: str
    update: Callable[[acp.Update], Awaitable[None]]
    question: Callable[[acp.AcpQuestion], Awaitable[wire.PermissionVerdict]]
    elicit: AskPerson


class _Prompt:
    """A prompt in flight: it goes on when nobody waits for it any more."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.stop_reason: object = None
        self.failure: AgentFailed | None = None


class Agent:
    """One run of the agent."""

    def __init__(
        self,
        settings: AgentSettings,
        process: AgentProcess,
        nursery: trio.Nursery,
        own_turn: Callable[[], Awaitable[Listener | None]] | None = None,
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
        self._own_turn = own_turn
        self._calls: dict[str, dict[str, Any]] = {}
        self._asking: set[trio.CancelScope] = set()
        self._elicitations = Elicitations(self._ask_in_chat, self._asking)
        self._prompt: _Prompt | None = None
        self.session = AgentSession(settings.cwd, self._request)
        self.options_changed: Callable[[], None] = lambda: None
        self.titled: Callable[[str], None] = lambda _title: None
        """It has given the conversation a title."""
        self.over = trio.Event()
        """It closed its output, or is of no more use: its process is to be ended."""

    async def read(self) -> None:
        """Read from the agent until it closes its output."""
        await self._peer.run()
        self.over.set()

    # ── its session ─────────────────────────────────────────────────────────

    async def begin(self, find_earlier: FindEarlier) -> SessionBegun:
        """Initialize, and open a session or bring the earlier one back.

        Raises:
            AgentFailed: it does not answer, or refuses.
        """
        settings = self._settings
        return await self.session.begin(
            find_earlier, read_files=settings.reads_files, write_files=settings.writes_files
        )

    async def _request(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            result = await self._peer.request(method, params)
        except PeerError as refused:
            abilities = self.session.abilities
            text = acp.refusal_text(refused.code, str(refused), refused.data, abilities)
            wants_login = refused.code == acp.AUTH_REQUIRED
            raise (LoginWanted if wants_login else AgentFailed)(text) from refused
        except PeerGone as gone:
            self.over.set()
            raise AgentEnded(await self._process.how_it_ended()) from gone
        return foreign.mapping(result)

    async def choose(self, option: str, choice: str) -> None:
        """Set one of its options.

        Raises:
            AgentFailed: it refuses, or does not answer.
            ValueError: nothing of that name is offered.
        """
        method, params = self.session.options.request(self.session.id, option, choice)
        with trio.move_on_after(CHOOSE_WITHIN_S):
            self.session.options.take_session(await self._request(method, params))
            self.session.options.chose(option, choice)
            return
        raise AgentFailed(f"the agent did not answer {method} in {CHOOSE_WITHIN_S:g} s")

    async def interrupt(self) -> None:
        """Ask it to stop what it does by itself."""
        for asked in list(self._asking):
            asked.cancel(reason="the turn was cancelled")
        with suppress(PeerGone):
            await self._peer.notify("session/cancel", {"sessionId": self.session.id})

    @property
    def _prompt_over(self) -> bool:
        return self._prompt is None or self._prompt.done.is_set()

    @property
    def quiet_since(self) -> float:
        """When it last reported something; now, while it waits for leave."""
        return trio.current_time() if self._asking else self.session.updated_at

    def end_own_turn(self) -> None:
        """What it reports from now on opens another turn, or is of the next prompt."""
        self._listener = None

    # ── its prompts ─────────────────────────────────────────────────────────

    async def prompt(
        self,
        blocks: list[dict[str, Any]],
        listener: Listener,
        grace_s: Callable[[], float] = lambda: CANCEL_WITHIN_S,
    ) -> acp.Ending:
        """Have one prompt answered.

        Cancelled, it is called off: the agent is notified once, its open questions are
        answered, and it has five seconds, or as many as *grace_s* returns then; one that
        goes on after that is ended.

        Raises:
            AgentUnheard: it ended without a word, as one does that was dead already.
            AgentFailed: it failed, ended, or sent nothing for too long.
        """
        if self.over.is_set():  # it ended while the prompt was made ready
            raise AgentUnheard(await self._process.how_it_ended())
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
        params = {"sessionId": self.session.id, "prompt": blocks}
        received_before = self._peer.received_at
        try:
            prompt.stop_reason = (await self._request("session/prompt", params)).get("stopReason")
        except AgentFailed as failure:
            silent = self.over.is_set() and self._peer.received_at == received_before
            prompt.failure = AgentUnheard(str(failure)) if silent else failure
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
        idle_s, since = self._settings.idle_within_s, trio.current_time()
        while not prompt.done.is_set():
            now = trio.current_time()
            if self._asking:
                since = now  # it waits for people
            # However long ago it was last asked something, or sent something.
            quiet_until = max(self._peer.received_at, since) + idle_s
            if now >= quiet_until:
                self.over.set()
                raise AgentFailed(f"the agent sent nothing for {idle_s:g} s and was ended")
            with trio.move_on_at(min(quiet_until, now + LOOK_EVERY_S)):
                await prompt.done.wait()

    async def _call_off(self, prompt: _Prompt) -> None:
        self._listener = None
        for asked in list(self._asking):
            asked.cancel(reason="the prompt was called off")
        try:
            await self._peer.notify("session/cancel", {"sessionId": self.session.id})
        except PeerGone:
            return
        await prompt.done.wait()

    # ── what it reports and asks ───────────────────────────────────────────────

    async def _notified(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "elicitation/complete":
            self._elicitations.complete(params)
        update = params.get("update")
        if method != "session/update" or not isinstance(update, Mapping):
            return
        if not self.session.id:
            # Some offer their commands before, or right after, they answer with the new id.
            self.session.options.take_update(update)
            return
        if params.get("sessionId") != self.session.id:
            return
        self.session.updated_at = trio.current_time()
        if self.session.options.take_update(update):
            self.options_changed()
        if update.get("sessionUpdate") == "session_info_update" and foreign.text(update, "title"):
            self.titled(foreign.text(update, "title"))
        if self.session.loading:
            return
        self._note_call(update)
        listener = self._listener
        if listener is None and acp.opens_a_turn(update):
            listener = await self._listening()
        if listener is None:
            return
        try:
            for one in acp.translate(update, listener.turn_id):
                await listener.update(one)
        except Disconnected:
            self._listener = None  # the daemon has ended the turn

    async def _requested(self, method: str, params: Mapping[str, Any]) -> Any:
        if method in ("session/request_permission", "elicitation/create"):
            try:
                return await self._ask_people(method, params)
            finally:
                self.session.updated_at = trio.current_time()  # it goes on from here
        if method == "fs/read_text_file" and self._settings.reads_files:
            return {"content": await trio.to_thread.run_sync(self._files.read, params)}
        if method == "fs/write_text_file" and self._settings.writes_files:
            await trio.to_thread.run_sync(self._files.write, params)
            return {}
        raise MethodUnknown

    async def _ask_people(self, method: str, params: Mapping[str, Any]) -> Any:
        if method == "elicitation/create":
            return await self._elicitations.create(params)
        return acp.outcome(await self._ask_permission(params))

    async def _ask_permission(self, params: Mapping[str, Any]) -> wire.PermissionVerdict | None:
        call_id = foreign.mapping(params.get("toolCall")).get("toolCallId")
        question = acp.read_question(params, self._calls.get(str(call_id)))
        if question is None:
            return None
        listener = await self._listening()
        if listener is None:
            return None
        verdict: wire.PermissionVerdict | None = None
        scope = trio.CancelScope()
        self._asking.add(scope)
        try:
            seed = step(question.call, listener.turn_id)
            if seed is not None:
                await listener.update(seed)
            with scope:
                verdict = await listener.question(question)
            if seed is not None and acp.rejects(question, verdict):
                await listener.update(acp.rejected(seed))
        except Disconnected:
            return None
        finally:
            self._asking.discard(scope)
        return verdict

    async def _ask_in_chat(self) -> AskPerson | None:
        listener = await self._listening()
        return None if listener is None else listener.elicit

    async def _listening(self) -> Listener | None:
        """Return who is sent what it reports now: the prompt in flight, or a turn of its own."""
        if self._listener is None and self._prompt_over and self._own_turn is not None:
            self._listener = await self._own_turn()
        return self._listener

    def _note_call(self, update: Mapping[str, Any]) -> None:
        """Keep what is known of a tool call: later messages carry only what changed."""
        if update.get("sessionUpdate") not in ("tool_call", "tool_call_update"):
            return
        call_id = str(update.get("toolCallId"))
        fields = {key: one for key, one in update.items() if one}
        self._calls[call_id] = {**self._calls.pop(call_id, {}), **fields}
        if len(self._calls) > CALLS_KNOWN_MAX:
            del self._calls[next(iter(self._calls))]
