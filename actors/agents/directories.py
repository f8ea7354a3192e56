"""Where an agent may be started: its configured directories, as they are now."""

from __future__ import annotations

from pathlib import Path

from protocol.config.settings import AgentCommand


def directory(named: str) -> Path | None:
    """Return where a directory really is; None: it is none, or can't be looked at.

    People name it: an unknown user's home, a name that is too long and a directory of
    somebody else are no reason to crash.
    """
    try:
        path = Path(named).expanduser()
        return path.resolve() if path.is_absolute() and path.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def is_within(cwd: Path, command: AgentCommand) -> bool:
    """Whether the agent may be started in this directory, by its configuration of now."""
    roots = map(directory, (command.cwd or "~", *command.roots))
    return any(root is not None and cwd.is_relative_to(root) for root in roots)
