"""Files of a reply that the daemon may not read by itself: read here, sent along.

The daemon reads what lies inside of the session's directory, where it is on the same
machine. What this process may read it reads as the session's own user; never from larkd's
state directory, and never its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from actors.host.started import configuration_in_use
from actors.kit.real_files import read_real
from actors.proxies.errors import ToolCallFailed
from actors.proxies.settings import ProxySettings
from protocol.config.places import StateDir

SENT_BYTES_MAX: Final = 6 * 1024 * 1024
"""Of all files of one reply that are sent along: they share a frame of 8 MiB."""


async def with_files(settings: ProxySettings, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return *args* with the content of the files that the daemon may not read itself.

    Raises:
        ToolCallFailed: one can't or may not be read, or they are too large together.
    """
    files = args.get("files")
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        return dict(args)
    sent = await trio.to_thread.run_sync(_read_all, settings, files)
    return {**args, "files": sent}


def _read_all(settings: ProxySettings, files: list[str]) -> list[object]:
    cwd = Path(settings.metadata.get("cwd") or "/nowhere").resolve()
    private = _private(settings)
    elsewhere = any(address.tls for address in settings.addresses)
    left = SENT_BYTES_MAX
    sent: list[object] = []
    for given in files:
        if not Path(given).is_absolute():
            sent.append(given)  # the daemon answers what is wrong with it
            continue
        try:
            real = Path(given).resolve(strict=True)
            if any(real.is_relative_to(one) for one in private):
                raise ToolCallFailed(f"{given}: is of larkd itself; it is not sent")
            if real.is_relative_to(cwd) and not elsewhere:
                sent.append(given)
                continue
            content = read_real(real, left + 1)
        except (OSError, ValueError, RuntimeError) as failed:
            reason = failed.strerror if isinstance(failed, OSError) else str(failed)
            raise ToolCallFailed(f"{given}: can't be read: {reason}") from failed
        if len(content) > left:
            mib = SENT_BYTES_MAX // 1024 // 1024
            remedy = "send fewer" if elsewhere else f"copy it into {cwd}"
            raise ToolCallFailed(f"{given}: over {mib} MB to be sent along; {remedy}")
        left -= len(content)
        sent.append({"name": Path(given).name, "content": content})
    return sent


def _private(settings: ProxySettings) -> list[Path]:
    """What is never sent: the state directory, the daemon's configuration, a token's file."""
    found = [settings.state_dir, settings.token_file]
    if settings.state_dir is not None:
        found.append(configuration_in_use(StateDir(settings.state_dir)))
    return [one.resolve() for one in found if one is not None]
