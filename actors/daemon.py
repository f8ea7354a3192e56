"""``python -m actors.daemon``: the same as ``larkd daemon``.

Exit status: 0 orderly, 1 failed while running, 2 bad usage or configuration, 3 already
running, 4 credentials refused.
"""

from __future__ import annotations

import sys

from actors.cli.daemon import main

if __name__ == "__main__":
    sys.exit(main())
