"""Fuzz one boundary, led by coverage: ``python -m tests.fuzz TARGET [option of libFuzzer…]``.

It needs atheris (``pip install atheris``), which has wheels for Linux; without it the seeded
run in ``test_fuzz`` is all there is.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def main() -> None:
    name, *options = sys.argv[1:]
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["protocol", "actors"]):
        targets = importlib.import_module("tests.fuzz.targets")
    take, seeds = targets.TARGETS[name]
    with TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], folder, *options], take)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
