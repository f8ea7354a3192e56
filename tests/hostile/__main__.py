"""The hostile proxies and the program without a token, as a process of their own.

``python -m tests.hostile SEED STATE_DIR TURNS PORT…``: until its input ends; it prints how
many attacks it made. TURNS is a file with the ids of honest turns, a line each.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import trio

from actors.kit.descriptors import raise_limit
from tests.hostile.machine import LocalProcess
from tests.hostile.proxy import HostileProxy

PROXIES = 4


async def attack(seed: int, state_dir: Path, turns: Path, ports: tuple[int, ...]) -> int:
    rng = random.Random(seed)
    proxies = [
        HostileProxy(random.Random(rng.random()), state_dir, turns, f"m{number}")
        for number in range(PROXIES)
    ]
    local = LocalProcess(random.Random(rng.random()), state_dir, ports)
    async with trio.open_nursery() as nursery:
        for one in proxies:
            nursery.start_soon(one.run)
        nursery.start_soon(local.run)
        await trio.lowlevel.wait_readable(0)
        while not any(one.attacks for one in proxies):  # on a machine that began just now
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return sum(one.attacks for one in proxies) + local.attacks


def main() -> None:
    seed, state_dir, turns, *ports = sys.argv[1:]
    raise_limit()
    made = trio.run(attack, int(seed), Path(state_dir), Path(turns), tuple(map(int, ports)))
    sys.stdout.write(f"{made}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
