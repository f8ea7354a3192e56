"""JSON of any shape, for what reads maps that somebody else has written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


def json_values(*keys: str, words: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    """Return values whose maps have *keys*, or others, and whose texts may be one of *words*."""
    texts = st.text(max_size=12)
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
    return st.recursive(
        leaves | st.sampled_from(words) if words else leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(keys) | texts if keys else texts, inner, max_size=5)
        ),
        max_leaves=20,
    )
