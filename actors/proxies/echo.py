"""An example agent: repeats what it was sent, as a real agent would answer.

It streams its answer token by token, thinks first, uses tools, follows a plan and
counts its tokens, and stops at once when it is asked to.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import trio

from actors.host.help_text import HelpText
from actors.proxies.client import (
    ProxyError,
    ProxySettings,
    ProxyTurn,
    open_proxy,
)
from actors.proxies.settings import of_environment
from protocol import __version__

CONTEXT_TOKENS: Final = 200_000
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
_TOKEN: Final = re.compile(r"\s*\S{1,6}|\s+")

DESCRIPTION: Final = """\
Attach an example agent session to a running larkd. It repeats what it is sent, with
reasoning, tool calls, a plan and usage, streamed token by token.

Words in the message choose what it does:
  long    an answer over several cards        code    a fenced code block
  table   a table                             error   end with an error
  slow    a fifth of the speed                short   the answer alone
"""


class Script:
    """What the agent is going to answer to one message."""

    def __init__(self, message: str) -> None:
        words = set(re.findall(r"[a-z]+", message.lower()))
        self.chinese = bool(_CHINESE.search(message))
        self.short = "short" in words
        self.slow = "slow" in words
        self.error = "error" in words
        self.message = message.strip()
        self.long = "long" in words
        everything = not words & {"code", "table", "long", "short"}
        self.code = everything or "code" in words
        self.table = everything or "table" in words

    def reasoning(self) -> str:
        if self.chinese:
            return "用户发来一条消息。我先读一遍，查一下相关文件，然后原样复述，并附上一个小例子。"
        return (
            "The user sent a message. I read it once more, look at the files it may be about,"
            " and then repeat it with a small example."
        )

    def steps(self) -> list[str]:
        if self.chinese:
            return ["读消息", "查找相关内容", "写回答"]
        return ["Read the message", "Look things up", "Write the answer"]

    def answer(self) -> str:
        quoted = "\n".join(f"> {line}" for line in self.message.splitlines() or [""])
        if self.short:
            return quoted + "\n"
        parts = ["## 你说的是\n" if self.chinese else "## You wrote\n", quoted, ""]
        count, size = len(self.message.split()), len(self.message)
        if self.chinese:
            parts.append(
                f"这条消息有 **{size}** 个字符。要点：\n\n- 收到了\n- 读完了\n- *复述如上*\n"
            )
        else:
            parts.append(
                f"That is **{count}** words in {size} characters. In short:\n\n"
                "- it arrived\n- it was read\n- it is *repeated above*\n"
            )
        if self.code:
            parts.append(
                "```python\ndef echo(message: str) -> str:\n"
                '    """Repeat it."""\n    return message\n```\n'
            )
        if self.table:
            head, *steps = (
                ("| 步骤 | 结果 |", "读取", "查找", "回答")
                if self.chinese
                else ("| step | result |", "read", "search", "write")
            )
            rows = "".join(f"| {step} | ✅ |\n" for step in steps)
            parts.append(f"{head}\n|---|---|\n{rows}")
        if self.long:
            parts += [self._paragraph(number) for number in range(1, 121)]
        return "\n".join(parts)

    def _paragraph(self, number: int) -> str:
        if self.chinese:
            return f"第 {number} 段。" + "长回答会在新的卡片上继续，一个字也不会丢。" * 4 + "\n"
        return (
            f"Paragraph {number}. "
            + "A long answer goes on in a new card, and no word is lost. " * 4
            + "\n"
        )


async def answer(turn: ProxyTurn, tokens_per_s: float) -> None:
    """Answer one turn. The pauses are the same for the same turn."""
    script = Script(turn.text)
    rng = random.Random(turn.deliver.turn_id)  # noqa: S311  # pauses of a demo
    pace_s = 1 / tokens_per_s * (5 if script.slow else 1)
    if not script.short:
        await _work(turn, script, rng, pace_s)
    spoken = 0
    for token in tokens(script.answer()):
        await turn.send(token)
        spoken += 1
        await trio.sleep(pace_s * rng.uniform(0.5, 1.5))
    if not script.short:
        done = [(step, "completed") for step in script.steps()]
        await turn.plan(done)  # type: ignore[arg-type]  # a literal through a list
    read = len(script.message) // 4 + 900
    await turn.usage(
        used=read + spoken, size=CONTEXT_TOKENS, input_tokens=read, output_tokens=spoken
    )
    if script.error:
        await turn.end("error", error="the message asked for an error")


async def _work(turn: ProxyTurn, script: Script, rng: random.Random, pace_s: float) -> None:
    """Think, plan, and use three tools."""
    steps = script.steps()
    await turn.plan([(steps[0], "in_progress"), (steps[1], "pending"), (steps[2], "pending")])
    for token in tokens(script.reasoning()):
        await turn.think(token)
        await trio.sleep(pace_s * rng.uniform(0.3, 1.0))
    await _use(turn, rng, "read", "Read", "read", "README.md")
    await turn.plan([(steps[0], "completed"), (steps[1], "in_progress"), (steps[2], "pending")])
    await _use(turn, rng, "grep", "Grep", "search", "echo in actors/")
    await _use(turn, rng, "run", "Bash", "execute", "make test")
    await turn.plan([(steps[0], "completed"), (steps[1], "completed"), (steps[2], "in_progress")])


async def _use(
    turn: ProxyTurn, rng: random.Random, call_id: str, name: str, kind: str, summary: str
) -> None:
    await turn.tool(call_id, name=name, kind=kind, status="running", summary=summary)  # type: ignore[arg-type]  # one of the contract's kinds
    await trio.sleep(rng.uniform(0.2, 0.7))
    await turn.tool(call_id, status="success")


def tokens(text: str) -> Iterator[str]:
    """Cut text into pieces of about the size a model's tokens have."""
    for piece in _TOKEN.finditer(text):
        yield piece[0]


async def serve(settings: ProxySettings, tokens_per_s: float) -> None:
    """Attach and answer turns, one after another, until cancelled or ended for good."""
    async with open_proxy(settings) as proxy:
        async for turn in proxy.turns():
            async with turn:
                await answer(turn, tokens_per_s)
        if proxy.ended is not None:
            raise proxy.ended


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m actors.proxies.echo",
        description=DESCRIPTION,
        formatter_class=HelpText,
    )
    default = Path.home() / ".local" / "state" / "larkd"
    parser.add_argument("--state-dir", type=Path, default=default, help="larkd's state directory")
    parser.add_argument("--address", help="HOST:PORT of larkd (default: from daemon.json)")
    parser.add_argument("--session-id", default="echo")
    parser.add_argument("--role", choices=("session", "dispatcher"), default="session")
    parser.add_argument("--alias", default="echo", help="the name people see in chat")
    parser.add_argument("--token-file", type=Path, help="the role's token (default: of the state)")
    parser.add_argument("--tokens-per-second", type=float, default=40.0)
    parser.add_argument(
        "--ends-with-input",
        action="store_true",
        help="end when the standard input does: with whoever holds its other end",
    )
    parsed = parser.parse_args(argv)
    if parsed.tokens_per_second <= 0:
        parser.error("--tokens-per-second must be above 0")
    settings = ProxySettings(
        session_id=parsed.session_id,
        state_dir=parsed.state_dir,
        role=parsed.role,
        address=_address(parser, parsed.address),
        token=parsed.token_file.read_bytes().strip() if parsed.token_file else None,
        metadata={"alias": parsed.alias, "agent": "echo", "cwd": str(Path.cwd())},
        version=__version__,
    )
    settings = of_environment(settings, os.environ)
    return trio.run(_until_signal, settings, parsed.tokens_per_second, parsed.ends_with_input)


def _address(parser: argparse.ArgumentParser, text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        parser.error("--address is HOST:PORT")
    return host, int(port)


async def _until_signal(
    settings: ProxySettings,
    tokens_per_s: float,
    ends_with_input: bool,  # trio.run passes by position
) -> int:
    failure: ProxyError | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def leave_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel(reason="signal")
                    return

            async def leave_with_input() -> None:
                async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as given:
                    async for _ in given:
                        pass
                nursery.cancel_scope.cancel(reason="end of input")

            nursery.start_soon(leave_on_signal)
            if ends_with_input:
                nursery.start_soon(leave_with_input)
            try:
                await serve(settings, tokens_per_s)
            except* ProxyError as group:
                failure = next(one for one in group.exceptions if isinstance(one, ProxyError))
            nursery.cancel_scope.cancel(reason="done")
    if failure is None:
        return 0
    sys.stderr.write(f"echo: {failure}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
