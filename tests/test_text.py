import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.text import first_few, shorten, some


def test_long_lists_are_counted() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"
    assert some(["a"] * 2002, 2) == "a, a and 2,000 more"
    assert first_few(["a", "b"], 2) == "a, b"
    assert first_few(["a", "b", "c"], 2) == "a, b, …"


@pytest.mark.parametrize(
    ("text", "room", "start", "end"),
    [
        ("", 3, "", ""),
        ("abc", 3, "abc", "abc"),
        ("abcd", 3, "ab…", "…cd"),
        ("abcd", 1, "…", "…"),
        ("abcd", 0, "…", "…"),
    ],
)
def test_long_names_are_cut(text: str, room: int, start: str, end: str) -> None:
    assert shorten(text, room) == start
    assert shorten(text, room, keep_end=True) == end


@given(st.text(max_size=50), st.integers(2, 60), st.booleans())
def test_as_much_as_fits_is_kept(text: str, room: int, keep_end: bool) -> None:
    def width(shown: str) -> float:
        return sum(2.0 if sign > "m" else 1.0 for sign in shown)

    short = shorten(text, room, width, keep_end=keep_end)
    assert width(short) <= room
    if short != text:
        kept = short.replace("…", "", 1) if keep_end else short[:-1]
        longer = f"…{text[-len(kept) - 1 :]}" if keep_end else f"{text[: len(kept) + 1]}…"
        assert width(longer) > room
