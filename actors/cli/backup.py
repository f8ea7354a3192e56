"""``larkd backup FILE``: journal and tokens in one file, consistent beside a running daemon."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

from actors import journal
from actors.cli.operator import not_running
from actors.cli.output import CommandFailed, Output, as_asked
from actors.host import archive
from actors.host.state_dir import read_daemon_info
from protocol import __version__
from protocol.config.places import StateDir
from protocol.wire.vocabulary import ROLES

JOURNAL_NAME: Final = "larkd.db"


def token_files(state: StateDir) -> dict[str, Path]:
    """Name in the archive → file of the state directory, for each role."""
    return {f"tokens/{role}.token": state.token(role) for role in ROLES}


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Write the backup.

    Raises:
        CommandFailed: there is no journal, or it or the file can't be read or written.
        ConfigurationError: the file is something else than a backup.
    """
    info = read_daemon_info(state)
    if info is not None and info.cluster is not None:
        raise CommandFailed(
            f"the journal and the tokens of cluster {info.cluster} are in its database; back that"
            f" up: pg_dump --schema=larkd --schema=larkd_{info.cluster} --file=FILE DATABASE"
        )
    if not state.database.exists():
        raise CommandFailed(f"nothing to back up: {not_running(state)}")
    target: Path = parsed.file.expanduser()
    try:
        # Beside the target, so that the copy needs no space on another disk.
        with tempfile.TemporaryDirectory(prefix=".larkd-backup-", dir=target.parent) as folder:
            copied = Path(folder) / JOURNAL_NAME
            journal.copy(state.database, copied)
            tokens = {name: path for name, path in token_files(state).items() if path.is_file()}
            manifest = archive.Manifest(larkd=__version__, made_at=time.time_ns() // 1_000_000)
            archive.write(target, manifest, {JOURNAL_NAME: copied, **tokens})
    except journal.JournalError as failed:
        raise CommandFailed(str(failed)) from None
    except OSError as failed:
        raise CommandFailed(f"{target} can't be written: {failed.strerror or failed}") from None
    return as_asked(
        parsed,
        f"{target}: journal and {len(tokens)} tokens. Keep it private: the tokens are in it.",
        {
            "file": str(target.absolute()),
            "tokens": len(tokens),
            "larkd": manifest.larkd,
            "made_at": manifest.made_at,
        },
    )
