"""Processes of larkd that start in milliseconds, forked from one that has read the code.

Each is a process of its own, with its own pid, memory, descriptors and signals, which
SIGKILL ends like any other. Only reading a few hundred modules, half a second of a core,
is done once for each process of tests. How a user starts larkd is tested apart, by the
commands themselves (``test_start``, ``test_cli``, the wheel).
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, TextIO

import trio

from actors.feishu.tls import tls_context
from tests.kit.longer_deadlines import lengthen_deadlines

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "actors.daemon",
        "actors.cli.main",
        "actors.proxies.acp",
        "actors.proxies.mcp",
        "actors.proxies.echo",
        "actors.sandbox.kept",
        "actors.sandbox.server",
        "httpcore",
        "psycopg",
        "tests.kit.preloaded",
        "tests.kit.warm",
    ]
)


class ForkedProcess:
    """What tests use of a ``trio.Process``, of a process that was forked."""

    def __init__(
        self,
        process: ForkServerProcess,
        stdin: trio.lowlevel.FdStream | None,
        stdout: trio.lowlevel.FdStream,
        stderr: trio.lowlevel.FdStream | None,
    ) -> None:
        assert process.pid is not None
        self._process = process
        self.pid = process.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals | int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it has ended, and nobody has read how
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Wait until it has ended; return its exit status, or minus its signal."""
        while self._process.exitcode is None:
            own = os.dup(self._process.sentinel)  # two tasks may wait, each by its own
            try:
                await trio.lowlevel.wait_readable(own)
            finally:
                os.close(own)
        await trio.lowlevel.checkpoint()
        return self._process.exitcode

    def close(self) -> None:
        """Close the ends of its streams; it has ended."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self._process.close()


async def start(  # the streams of a process
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    stdin: bool = False,
    stderr: bool = False,
    descriptors: int | None = None,
) -> ForkedProcess:
    """Run ``python -m MODULE ARGUMENTS`` in a process forked for it.

    It may have so many *descriptors* open; None: as many as the tests.
    Standard output comes through a pipe; *stdin* and *stderr* do where they are asked for.
    Without them the one is empty, and the other the tests' own.
    """
    given, ours_in = _CONTEXT.Pipe(duplex=False) if stdin else (None, None)
    ours_out, out = _CONTEXT.Pipe(duplex=False)
    ours_err, err = _CONTEXT.Pipe(duplex=False) if stderr else (None, None)
    process = _CONTEXT.Process(
        target=_run,
        args=(module, list(arguments), dict(environment), cwd, (given, out, err), descriptors),
        daemon=False,
    )
    await trio.to_thread.run_sync(process.start)
    for theirs in (given, out, err):
        if theirs is not None:
            theirs.close()
    stream = _stream(ours_out)
    assert stream is not None
    return ForkedProcess(process, _stream(ours_in), stream, _stream(ours_err))


def start_without_trio(
    module: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[ForkServerProcess, TextIO]:
    """Run it for a test that runs no Trio; return it, and its standard output to be read."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(
        target=_run,
        args=(module, list(arguments), dict(environment), None, (None, theirs, None), None),
        daemon=False,
    )
    process.start()
    theirs.close()
    output = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
    ours.close()
    return process, output


async def run(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], *, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, within the deadline around; return its status and what it wrote."""
    process = await start(module, arguments, environment, stdin=True, stderr=True)
    written: dict[str, bytes] = {}
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_collect, process.stdout, "stdout", written)
            nursery.start_soon(_collect, process.stderr, "stderr", written)
            assert process.stdin is not None
            with suppress(trio.BrokenResourceError):  # it may end before it has read all
                await process.stdin.send_all(stdin)
            await process.stdin.aclose()
        status = await process.wait()
    finally:
        process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()
            process.close()
    return subprocess.CompletedProcess([module, *arguments], status, **written)


async def _collect(
    stream: trio.lowlevel.FdStream | None, name: str, written: dict[str, bytes]
) -> None:
    assert stream is not None
    written[name] = b"".join([chunk async for chunk in stream])


def _stream(end: Connection[Any, Any] | None) -> trio.lowlevel.FdStream | None:
    if end is None:
        return None
    stream = trio.lowlevel.FdStream(os.dup(end.fileno()))
    end.close()
    return stream


def _run(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    cwd: Path | None,
    streams: tuple[Connection[Any, Any] | None, ...],
    descriptors: int | None,
) -> None:
    """Become ``python -m MODULE``: the streams, environment and arguments of a fresh one."""
    if descriptors is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    for number, end in enumerate(streams):
        if end is not None:
            os.dup2(end.fileno(), number)
            end.close()
    if streams[0] is None:
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for the process' run
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    trusted = os.environ.get("SSL_CERT_FILE")
    os.environ.clear()
    os.environ.update(environment)
    if os.environ.get("SSL_CERT_FILE") != trusted:
        tls_context.cache_clear()  # was read before the fork
    if cwd is not None:
        os.chdir(cwd)
    if module == "actors.daemon":
        lengthen_deadlines()
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules.pop(module, None)  # or runpy warns on standard error that it was read before
    runpy.run_module(module, run_name="__main__", alter_sys=True)
