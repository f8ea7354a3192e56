"""The operator's side: hand-offs and token rotation beside a running daemon."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import trio

from tests.kit import preloaded
from tests.kit.daemon import environment, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, RawProxy, connect, registration, session


async def larkd(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(60):
        return await preloaded.run(
            "actors.cli", [*arguments, "--state-dir", str(state_dir)], environment()
        )


async def output_of(state_dir: Path, *arguments: str) -> str:
    done = await larkd(state_dir, *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().strip()


async def refused(state_dir: Path, *arguments: str) -> str:
    done = await larkd(state_dir, *arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    return done.stderr.decode().strip()


async def lease(proxy: RawProxy) -> Map:
    status: Map = (await proxy.tool("feishu_channel_status"))["result"]
    return status


async def test_an_operator_hands_the_channel_over_and_is_no_session(state_dir: Path) -> None:
    async with (
        open_served(state_dir),
        session(state_dir, "boss", "dispatcher") as boss,
        session(state_dir, "mate:1", metadata={"alias": "API", "cwd": "/src/api"}) as mate,
    ):
        assert await output_of(state_dir, "handoff", "acquire", "api") == (
            "Feishu channel owner is now mate:1 (session, epoch 2)."
        )
        found = await lease(boss)
        assert found["effective_target_session_id"] == "mate:1"
        assert found["dispatcher_session_id"] == "boss"
        assert [one["sessionId"] for one in found["sessions"]] == ["boss", "mate:1"]

        assert await output_of(state_dir, "handoff", "reclaim", "--chats") == (
            "Feishu channel owner reclaimed by dispatcher boss (epoch 3)."
        )
        assert await output_of(state_dir, "handoff", "grant", "--match", "cwd=/src/api") == (
            "Feishu channel acquire grant issued to mate:1."
        )
        taken = await mate.tool("feishu_channel_acquire")
        assert taken["result"] == "Feishu channel owner is now mate:1 (session, epoch 4)."
        as_json = await output_of(state_dir, "handoff", "--json", "grant", "api")
        assert json.loads(as_json)["result"].startswith("Feishu channel acquire grant issued to ")
        assert await output_of(state_dir, "handoff", "return") == (
            "Feishu channel owner returned to dispatcher boss (epoch 5)."
        )
        assert "goes to     boss" in await output_of(state_dir, "status")


async def test_an_operators_mistakes_change_nothing_and_are_named(state_dir: Path) -> None:
    async with open_served(state_dir):
        async with session(state_dir, "mate") as mate:
            place = f"--state-dir {state_dir}"
            assert await refused(state_dir, "handoff", "acquire", "nobody") == (
                "larkd handoff: no live channel proxy session: nobody\n"
                f"the sessions there are: larkd status {place}"
            )
            for action in ("reclaim", "return"):
                assert await refused(state_dir, "handoff", action) == (
                    "larkd handoff: no live dispatcher channel proxy is registered\n"
                    "start a session with LARKD_ROLE=dispatcher, or choose one:"
                    f" larkd handoff acquire SESSION {place}"
                )
            found = await lease(mate)
            assert (found["lease_epoch"], found["dispatcher_session_id"]) == (0, None)
        (state_dir / "tokens" / "dispatcher.token").chmod(0o644)
        done = await larkd(state_dir, "handoff", "reclaim")
        assert done.returncode == 2
        assert b"larkd tokens rotate dispatcher --state-dir" in done.stderr


async def test_a_rotated_token_is_in_force_without_a_restart(state_dir: Path) -> None:
    old = (await _token_after_start(state_dir)).encode()
    async with open_served(state_dir):
        async with session(state_dir, "mate") as mate:
            output = await output_of(state_dir, "tokens", "rotate", "session")
            new = (state_dir / "tokens" / "session.token").read_text()
            assert new.encode() != old
            assert new not in output
            await mate.barrier()  # who is in stays in

            async with connect(state_dir) as late:
                hello = await late.expect("hello")
                (state_dir / "old" / "tokens").mkdir(parents=True)
                (state_dir / "old" / "tokens" / "session.token").write_bytes(old)
                await late.send(
                    **registration(hello, state_dir / "old", "late", "session", None, {})
                )
                assert (await late.expect("refused"))["code"] == "bad_proof"
            async with session(state_dir, "fresh") as fresh:
                await fresh.barrier()


async def _token_after_start(state_dir: Path) -> str:
    async with open_served(state_dir):
        return (state_dir / "tokens" / "session.token").read_text()


async def test_wrong_proofs_wait_longer_each_time_and_right_ones_never(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        await refuse_one(state_dir)
        await refuse_one(state_dir)
        async with session(state_dir, "mate") as mate:
            await mate.barrier()
        entries = map(json.loads, await daemon.logged('"link.bad_proof"', times=2))
        waited = [one["refused_after_s"] for one in entries]
        assert waited == [0.25, 0.5]


async def refuse_one(state_dir: Path) -> None:
    async with connect(state_dir) as proxy:
        answer = await proxy.register(state_dir, "guess", proof="0" * 64)
        assert answer["code"] == "bad_proof"
