"""Values that everything else is made of."""

from __future__ import annotations

from trio_sentinel.model.values import _canonical_ip, canonical_ip, is_ip


def test_a_text_too_long_for_an_address_is_none_and_is_not_kept() -> None:
    """Strangers choose such texts, and what was asked before is remembered by the thousand."""
    before = _canonical_ip.cache_info().currsize
    assert not is_ip("1" * 100_000)
    assert _canonical_ip.cache_info().currsize == before


def test_the_longest_address_is_one() -> None:
    longest = "fe80:1111:2222:3333:4444:5555:255.255.255.255%" + "i" * 15
    assert canonical_ip(longest) == "fe80:1111:2222:3333:4444:5555:ffff:ffff%" + "i" * 15
