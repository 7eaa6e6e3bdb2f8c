"""JSON with a record a line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.formats.json_text import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.integers(0, 4))
def test_it_is_the_same_content(content: Any, levels: int) -> None:
    """However many levels are spread over lines."""
    assert json.loads(json_text(content, levels)) == content


@pytest.mark.parametrize(
    ("levels", "text"),
    [(0, '{"a": [{"b": 1}], "c": []}'), (1, '{\n  "a": [{"b": 1}],\n  "c": []\n}')],
)
def test_what_is_within_stands_on_one_line(levels: int, text: str) -> None:
    """The outer levels are indented by two; what is empty is not spread."""
    assert json_text({"a": [{"b": 1}], "c": []}, levels) == text


def test_lists_are_spread_as_well() -> None:
    """A record a line."""
    assert json_text({"a": [{"b": 1}, 2]}, 2) == '{\n  "a": [\n    {"b": 1},\n    2\n  ]\n}'
