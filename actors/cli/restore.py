"""``larkd restore FILE``: a backup into a state directory that has no journal."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from actors import journal
from actors.cli.backup import JOURNAL_NAME, token_files
from actors.cli.output import CommandFailed, Output, as_asked
from actors.host import archive, state_dir
from actors.host.advice import start_of
from protocol.config.places import StateDir


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Restore the backup, whole or not at all.

    Raises:
        CommandFailed: the directory holds a journal, or the archive's journal is damaged.
        ConfigurationError: the file is no backup, or the directory can't be used.
        AlreadyRunning: a daemon serves the directory.
    """
    source: Path = parsed.file.expanduser()
    manifest = archive.read_manifest(source)
    if manifest is None:
        what = "is no backup of larkd" if source.exists() else "does not exist"
        raise CommandFailed(f"{source} {what}; name the file that `larkd backup` wrote")
    if manifest.format > archive.FORMAT:
        raise CommandFailed(
            f"{source} was made by larkd {manifest.larkd}; restore it with that one"
        )
    state_dir.create(state)
    with state_dir.locked(state):
        _restore(state, source)
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.made_at / 1000))
    start = start_of(state)
    return as_asked(
        parsed,
        f"{state.root} is as it was on {made}. Start it: {start}",
        {
            "state_dir": str(state.root),
            "larkd": manifest.larkd,
            "made_at": manifest.made_at,
            "start": start,
        },
    )


def _restore(state: StateDir, source: Path) -> None:
    beside = (state.database.with_name(f"{state.database.name}{end}") for end in ("-wal", "-shm"))
    if any(path.exists() for path in (state.database, *beside)):
        raise CommandFailed(
            f"{state.root} holds a journal, which would be lost; move it away,"
            " or name another directory with --state-dir"
        )
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=state.root) as folder:
        fresh = Path(folder)
        tokens = token_files(state)
        places = {JOURNAL_NAME: fresh / JOURNAL_NAME}
        places |= {name: fresh / path.name for name, path in tokens.items()}
        found = archive.extract(source, places)
        if JOURNAL_NAME not in found:
            raise CommandFailed(f"{source} holds no journal")
        try:
            problems = journal.problems_of(places[JOURNAL_NAME])
        except journal.JournalError as failed:
            problems = (str(failed),)
        if problems:
            raise CommandFailed(f"the journal in {source} is damaged: {problems[0]}")
        for name in found - {JOURNAL_NAME}:
            places[name].replace(tokens[name])
        # Last: with it the directory counts as restored.
        places[JOURNAL_NAME].replace(state.database)
