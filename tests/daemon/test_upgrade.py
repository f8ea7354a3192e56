"""From what a released larkd left, its journal and its configuration, to a daemon that runs."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from actors.host import state_dir as host
from actors.host.tokens import open_tokens
from actors.journal.schema import MIGRATIONS
from protocol.config.places import StateDir
from tests.actors.journal.test_upgrade import RELEASED
from tests.daemon.test_operator import output_of
from tests.kit import preloaded
from tests.kit.daemon import Platform, environment, open_platform
from tests.kit.ledger import wait_closed
from tests.kit.preloaded import ForkedProcess
from tests.kit.raw_proxy import session
from tests.kit.sizes import NIGHTLY

CONFIGURATIONS = sorted(Path(__file__).with_name("released").glob("*.toml"))
SCHEMAS = sorted(RELEASED) if NIGHTLY else sorted({min(RELEASED), max(RELEASED)})
"""What lies between is migrated without a daemon in the journal's own tests each time."""


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda file: file.stem)
@pytest.mark.parametrize("schema", SCHEMAS)
async def test_it_starts_and_delivers_what_was_left(
    state_dir: Path, schema: int, configuration: Path
) -> None:
    # The platform never had the cards of then; until that is believed half a minute goes by.
    closes = NIGHTLY and schema == min(RELEASED)
    state = StateDir(state_dir)
    host.create(state)
    open_tokens(state, secrets.token_urlsafe)
    with closing(sqlite3.connect(state_dir / "larkd.db")) as db:
        db.executescript(RELEASED[schema].read_text())
    async with open_platform() as platform:
        process = await started(platform, state_dir, configuration.read_text())
        try:
            await platform.wait_connected()
            async with (
                session(state_dir, "s_bound") as bound,
                session(state_dir, "s_owner") as owner,
            ):
                given = await bound.expect("deliver")
                assert (given["content"], given["attempt"]) == ("text for the bound session", 1)
                again = await owner.until("deliver")
                assert (again["event_id"], again["attempt"]) == ("e_delivered", 2)
            shown = await output_of(state_dir, "status")
            assert "owner       s_owner" in shown
            if closes:
                await wait_closed(state_dir)
        finally:
            process.terminate()
            if not closes:
                process.terminate()  # a second one shortens what it would wait for the cards
            with trio.fail_after(60):
                status = await process.wait()
            assert status == 0 or (status == 1 and not closes), "1: cards are left open"
    copied = (state_dir / f"larkd.db.schema-{schema}").exists()
    assert copied is (schema < len(MIGRATIONS)), "the way back"


async def started(platform: Platform, state_dir: Path, configuration: str) -> ForkedProcess:
    app = platform.running.settings
    config = state_dir.parent / "config.toml"
    filled = configuration.replace("PLATFORM", platform.base_url).replace("APP_ID", app.app_id)
    config.write_text(filled)
    place = ("--config", str(config), "--state-dir", str(state_dir))
    process = await preloaded.start(
        "actors.daemon", place, environment() | {"SECRET_OF_TESTS": app.app_secret}
    )
    output = b""
    with trio.fail_after(60):
        async for data in process.stdout:
            output += data
            if b"larkd ready on " in output:
                return process
    raise AssertionError(output)
