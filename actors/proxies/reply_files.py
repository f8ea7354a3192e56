"""Files of a reply that lie outside of the session's directory: read here, sent along.

The daemon reads what lies inside. What this process may read it reads as the session's
own user; never from larkd's state directory, and never its configuration.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from actors.proxies.errors import ToolFailed
from actors.proxies.settings import ProxySettings

SENT_BYTES_MAX: Final = 6 * 1024 * 1024
"""Of all files of one reply that are sent along: they share a frame of 8 MiB."""


async def with_files(settings: ProxySettings, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return *args* with the content of the files that the daemon may not read itself.

    Raises:
        ToolFailed: one can't or may not be read, or they are too large together.
    """
    files = args.get("files")
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        return dict(args)
    sent = await trio.to_thread.run_sync(_read_all, settings, files)
    return {**args, "files": sent}


def _read_all(settings: ProxySettings, files: list[str]) -> list[object]:
    cwd = Path(settings.metadata.get("cwd") or "/nowhere").resolve()
    left = SENT_BYTES_MAX
    sent: list[object] = []
    for given in files:
        if not Path(given).is_absolute():
            sent.append(given)  # the daemon says what is wrong with it
            continue
        try:
            real = Path(given).resolve(strict=True)
            if settings.state_dir is not None and real.is_relative_to(settings.state_dir.resolve()):
                raise ToolFailed(f"{given}: is of larkd itself; it is not sent")
            if real.is_relative_to(cwd):
                sent.append(given)
                continue
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ToolFailed(f"{given}: not a file")
                content = file.read(left + 1)
        except (OSError, ValueError) as failed:
            reason = failed.strerror if isinstance(failed, OSError) else str(failed)
            raise ToolFailed(f"{given}: can't be read: {reason}") from failed
        if len(content) > left:
            mib = SENT_BYTES_MAX // 1024 // 1024
            raise ToolFailed(f"{given}: over {mib} MB from outside of {cwd}; copy it into there")
        left -= len(content)
        sent.append({"name": Path(given).name, "content": content})
    return sent
