"""Words become requests or refusals in stock's order of checks (commands.md 7). Each row names its sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_sentinel.errors import CommandRefused
from trio_sentinel.model.inputs import CrashPointsSetAsked, FailoverAsked, OpinionAsked, SetAsked, TimingSetAsked
from trio_sentinel.model.settings import GlobalSettings, Timing
from trio_sentinel.model.values import MAX_EPOCH
from trio_sentinel.wire import requests
from trio_sentinel.wire.resp import Argv

ID = "c" * 40


def argv(*words: str) -> Argv:
    return tuple(word.encode("utf-8", "surrogateescape") for word in words)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(CommandRefused) as caught:
        act()
    return str(caught.value)


# ---------------------------------------------------------------- hello


def test_a_hello_is_read_and_written_alike() -> None:
    text = f"10.0.0.1,26379,{ID},7,mymaster,10.0.0.2,6379,5"
    heard = requests.hello(text.encode())
    assert heard is not None
    assert str(heard) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"10.0.0.1,26379,{ID},7,m,10.0.0.2,6379",
        f"10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,5,6",
        f",26379,{ID},7,m,10.0.0.2,6379,5",
        f"10.0.0.1,65536,{ID},7,m,10.0.0.2,6379,5",
        f"10.0.0.1,-1,{ID},7,m,10.0.0.2,6379,5",
        f"10.0.0.1,26379,{ID},-1,m,10.0.0.2,6379,5",
        f"10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,{MAX_EPOCH + 1}",
        f"10.0.0.1,26379,{ID},x,m,10.0.0.2,6379,5",
        "10.0.0.1,26379,,7,m,10.0.0.2,6379,5",
        "10.0.0.1,26379,a b,7,m,10.0.0.2,6379,5",
        f"10.0.0.1\n,26379,{ID},7,m,10.0.0.2,6379,5",
        f"10.0.0.1,26379,{ID},7,m,,6379,5",
        f"10.0.0.1,26379,{ID},7,{'m' * 3000},10.0.0.2,6379,5",
    ],
)
def test_what_is_no_hello_is_ignored(text: str) -> None:
    assert requests.hello(text.encode()) is None


# ---------------------------------------------------------------- opinions


def test_a_question_without_and_with_a_candidate() -> None:
    ask = argv("SENTINEL", "is-master-down-by-addr", "10.0.0.2", "6379", "7", "*")
    assert requests.opinion(ask)(4) == OpinionAsked(4, "10.0.0.2", 6379, 7, None)
    vote = requests.opinion((*ask[:5], ID.encode()))(5)
    assert isinstance(vote, OpinionAsked)
    assert vote.candidate == ID


@pytest.mark.parametrize(
    ("port", "epoch"), [("x", "1"), ("1", "x"), ("01", "1"), ("1", "-1"), ("1", str(MAX_EPOCH + 1)), ("1", "1.0")]
)
def test_numbers_of_a_question_are_checked(port: str, epoch: str) -> None:
    """7.3: a negative epoch would poison the epoch for good."""
    words = argv("SENTINEL", "is-master-down-by-addr", "h", port, epoch, ID)
    assert refusal(lambda: requests.opinion(words)) == "ERR value is not an integer or out of range"


@pytest.mark.parametrize("candidate", ["", "a b", "a\nb", "x" * 200])
def test_an_impossible_candidate_gets_no_vote(candidate: str) -> None:
    asked = requests.opinion(argv("S", "i", "h", "1", "1", candidate))(1)
    assert isinstance(asked, OpinionAsked)
    assert asked.candidate is None


# ---------------------------------------------------------------- MONITOR, FAILOVER


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("m\x01", "h", "z", "a"), "ERR Invalid argument at index 2 for SENTINEL MONITOR: control characters are "),
        (("m", "h", "z", "\x7f"), "ERR Invalid argument at index 5 for SENTINEL MONITOR: control characters are "),
        (("m", "h", "z", "a"), "ERR Invalid quorum"),
        (("m", "h", "z", "0"), "ERR Invalid port"),
        (("m", "h", "-1", "0"), "ERR Quorum must be 1 or greater."),
        (("m", "h", "1", "2147483648"), "ERR Invalid quorum"),
    ],
)
def test_monitor_is_checked_in_order(words: tuple[str, ...], text: str) -> None:
    """7.7."""
    assert refusal(lambda: requests.monitor(argv("SENTINEL", "MONITOR", *words))).startswith(text)


def test_monitor_leaves_host_and_port_to_later_checks() -> None:
    assert requests.monitor(argv("S", "M", "m", "h", "70000", "2")) == requests.Wanted("m", "h", 70000, 2)
    assert refusal(lambda: requests.checked_host(False)) == "ERR Invalid IP address or hostname specified"
    assert refusal(lambda: requests.checked_port(70000)) == "ERR Invalid port number."
    assert refusal(lambda: requests.checked_port(-1)) == "ERR Invalid port number."
    assert requests.checked_port(0) == 0


def test_failover() -> None:
    """7.6."""
    assert requests.failover(argv("S", "FAILOVER", "m"))(1) == FailoverAsked(1, "m", False)
    assert requests.failover(argv("S", "FAILOVER", "m", "Coordinated"))(1) == FailoverAsked(1, "m", True)
    assert refusal(lambda: requests.failover(argv("S", "F", "m", "x"))) == "ERR Unknown failover option specified"


# ---------------------------------------------------------------- SET


def change(*words: str, locked: bool = False) -> SetAsked:
    make = requests.settings_change(
        argv("SENTINEL", "SET", "m", *words), scripts_locked=locked, is_executable="/bin/true".__eq__
    )
    asked = make(9)
    assert isinstance(asked, SetAsked)
    assert (asked.request, asked.name) == (9, "m")
    return asked


def test_set_keeps_words_as_typed() -> None:
    asked = change("QuoRum", "3", "rename-command", "A", "b", "auth-pass", "", "notification-script", "/bin/true")
    assert asked.refusal is None
    assert asked.options == (
        ("QuoRum", "3"),
        ("rename-command", "A", "b"),
        ("auth-pass", ""),
        ("notification-script", "/bin/true"),
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("Foo", "1"), "ERR Unknown option or number of arguments for SENTINEL SET 'Foo'"),
        (("auth-user",), "ERR Unknown option or number of arguments for SENTINEL SET 'auth-user'"),
        (("rename-command", "a"), "ERR Unknown option or number of arguments for SENTINEL SET 'rename-command'"),
        (("rename-command", "a", ""), "ERR Invalid argument '' for SENTINEL SET 'rename-command'"),
        (("rename-command", "", "a"), "ERR Invalid argument '' for SENTINEL SET 'rename-command'"),
        (("Quorum", "0"), "ERR Invalid argument '0' for SENTINEL SET 'Quorum'"),
        (("quorum", "4294967296"), "ERR Invalid argument '4294967296' for SENTINEL SET 'quorum'"),
        (("parallel-syncs", "x"), "ERR Invalid argument 'x' for SENTINEL SET 'parallel-syncs'"),
        (("failover-timeout", "-1"), "ERR Invalid argument '-1' for SENTINEL SET 'failover-timeout'"),
        (("down-after-milliseconds", "01"), "ERR Invalid argument '01' for SENTINEL SET 'down-after-milliseconds'"),
        (
            ("primary-reboot-down-after-period", "-1"),
            "ERR Invalid argument '-1' for SENTINEL SET 'primary-reboot-down-after-period'",
        ),
        (("notification-script", "/no"), "ERR Notification script seems non existing or non executable"),
        (("client-reconfig-script", "/no"), "ERR Client reconfiguration script seems non existing or non executable"),
    ],
)
def test_set_keeps_the_good_groups_before_the_bad_one(words: tuple[str, ...], text: str) -> None:
    """7.10: pairs are applied left to right, not atomically."""
    whole = len(words) == (3 if words[0] == "rename-command" else 2)
    asked = change("quorum", "2", *words, *(("quorum", "5") if whole else ()))
    assert asked.options == (("quorum", "2"),)
    assert asked.refusal == text


def test_scripts_are_locked_before_they_are_looked_at() -> None:
    for option in ("notification-script", "client-reconfig-script"):
        assert change(option, "", locked=True).refusal == "ERR " + requests.SCRIPTS_LOCKED
        assert change(option, "").refusal is None


def test_control_characters_spoil_the_whole_set() -> None:
    words = argv("SENTINEL", "SET", "m", "quorum", "2", "auth-pass", "a\tb")
    text = refusal(lambda: requests.settings_change(words, scripts_locked=False, is_executable=bool))
    assert text == "ERR Invalid argument at index 6 for SENTINEL SET: control characters are not allowed"


def test_a_zero_reboot_period_is_lawful() -> None:
    assert change("master-reboot-down-after-period", "0").refusal is None


# ---------------------------------------------------------------- CONFIG, DEBUG, SIMULATE-FAILURE

FORMS = (
    "ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / "
    "SET <param> <value> [<param> <value> ...] are supported."
)


@pytest.mark.parametrize("words", [("set", "x"), ("foo", "x"), ("foo", "x", "y")])
def test_config_forms(words: tuple[str, ...]) -> None:
    assert refusal(lambda: requests.config_verb(argv("SENTINEL", "CONFIG", *words))) == FORMS


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("FOO", "1"), "ERR Invalid argument 'FOO' to SENTINEL CONFIG SET"),
        (("foo", "1", "announce-port", "x"), "ERR Invalid argument 'foo' to SENTINEL CONFIG SET"),
        (("announce-port", "x", "foo", "1"), "ERR Invalid value 'x' to SENTINEL CONFIG SET 'announce-port'"),
        (("announce-port", "65536"), "ERR Invalid value '65536' to SENTINEL CONFIG SET 'announce-port'"),
        (("announce-port", "1", "Announce-Port", "2"), "ERR Duplicate argument 'Announce-Port' to SENTINEL CONFIG SET"),
        (("announce-port", "1", "announce-port"), "ERR Duplicate argument 'announce-port' to SENTINEL CONFIG SET"),
        (("announce-port", "1", "Announce-IP"), "ERR Missing argument 'Announce-IP' value"),
        (("resolve-hostnames", "1"), "ERR Invalid value '1' to SENTINEL CONFIG SET 'resolve-hostnames'"),
        (("sentinel-pass", requests.MASK), "ERR Invalid value '******' to SENTINEL CONFIG SET 'sentinel-pass'"),
        (("loglevel", "loud"), "ERR Invalid value 'loud' to SENTINEL CONFIG SET 'loglevel'"),
        (
            ("announce-ip", "\n"),
            "ERR Invalid argument at index 4 for SENTINEL CONFIG SET: control characters are not allowed",
        ),
    ],
)
def test_config_set_is_all_or_nothing(words: tuple[str, ...], text: str) -> None:
    """7.11; order within a pair as observed: name, twice, value missing, value bad."""
    given = argv("SENTINEL", "CONFIG", "SET", *words)
    assert refusal(lambda: requests.globals_change(given, GlobalSettings())) == text


def test_config_set_gives_the_whole_new_settings() -> None:
    words = "resolve-hostnames YES announce-hostnames yes announce-ip 1.2.3.4 announce-port 7 sentinel-user u".split()
    given = argv("SENTINEL", "CONFIG", "SET", *words, "sentinel-pass", "p", "loglevel", "DEBUG")
    changed = requests.globals_change(given, GlobalSettings(deny_scripts_reconfig=False))
    assert changed.loglevel == "debug"
    assert changed.settings == GlobalSettings(
        announce_ip="1.2.3.4",
        announce_port=7,
        sentinel_user="u",
        sentinel_pass="p",
        resolve_hostnames=True,
        announce_hostnames=True,
        deny_scripts_reconfig=False,
    )


@pytest.mark.parametrize("option", ["announce-ip", "sentinel-user", "sentinel-pass"])
def test_an_empty_text_unsets(option: str) -> None:
    """7.11, trap: upstream would announce an empty host."""
    before = GlobalSettings(announce_ip="x", sentinel_user="y", sentinel_pass="z")
    after = requests.globals_change(argv("S", "C", "SET", option, ""), before).settings
    assert getattr(after, option.replace("-", "_")) is None


def test_timing_names_are_the_fields_of_timing() -> None:
    fields = [attribute.name for attribute in Timing.__attrs_attrs__]
    assert sorted(fields) == sorted(requests.TIMING_NAMES)
    assert requests.timing_word("min_link_reconnect_period_ms") == "MIN-LINK-RECONNECT-PERIOD"


@pytest.mark.parametrize(
    ("words", "good", "text"),
    [
        (("ping-period", "5", "Info-Period", "6"), [("ping_period_ms", 5), ("info_period_ms", 6)], None),
        (
            ("ping-period", "5", "foo", "6"),
            [("ping_period_ms", 5)],
            "ERR Unknown option or number of arguments for SENTINEL DEBUG 'foo'",
        ),
        (("PING-period",), [], "ERR Unknown option or number of arguments for SENTINEL DEBUG 'PING-period'"),
        (("ping-period", "0"), [], "ERR Invalid argument '0' for SENTINEL DEBUG 'ping-period'"),
        (("ping-period", "x"), [], "ERR Invalid argument 'x' for SENTINEL DEBUG 'ping-period'"),
    ],
)
def test_debug_applies_pairs_one_by_one(words: tuple[str, ...], good: list[tuple[str, int]], text: str | None) -> None:
    makes, wrong = requests.timing_changes(argv("SENTINEL", "DEBUG", *words))
    assert [make(1) for make in makes] == [TimingSetAsked(1, name, value) for name, value in good]
    assert wrong == text


@pytest.mark.parametrize(
    ("words", "election", "promotion", "helped", "text"),
    [
        (("Crash-After-Election",), True, False, False, None),
        (("crash-after-election", "crash-after-promotion"), True, True, False, None),
        (("crash-after-promotion", "help", "foo"), False, True, True, None),
        (("crash-after-promotion", "foo"), False, True, False, "ERR Unknown failure simulation specified"),
        (("foo", "crash-after-promotion"), False, False, False, "ERR Unknown failure simulation specified"),
    ],
)
def test_crash_points(words: tuple[str, ...], election: bool, promotion: bool, helped: bool, text: str | None) -> None:
    """7.8."""
    points = requests.crash_points(argv("SENTINEL", "SIMULATE-FAILURE", *words))
    assert points.make(3) == CrashPointsSetAsked(3, election, promotion)
    assert (points.help, points.refusal) == (helped, text)
