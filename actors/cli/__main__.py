"""``python -m actors.cli``: the ``larkd`` command without its installed script."""

from __future__ import annotations

import sys

from actors.cli.main import main

sys.exit(main())
