"""What every process of larkd does at its start, done once before they are forked.

The last module that the server of forks reads: the memory of all it has read is left out
of collections from then on, or each process would copy it to look through it.
"""

from __future__ import annotations

import gc

from actors.feishu.tls import tls_context

tls_context()
gc.collect()
gc.freeze()
