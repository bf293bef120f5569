"""The language of ACL rules: what a rule changes, how users are printed, what they may do (commands.md 6.2-6.4)."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import meant
from trio_sentinel.wire import acl_file
from trio_sentinel.wire.acl_selector import NAMES, Selector
from trio_sentinel.wire.acl_user import MAX_RULES, BadWord, Unmatched, User, digest_of, merged
from trio_sentinel.wire.commands import COMMANDS, every, find
from trio_sentinel.wire.resp import Argv

FRESH = Selector()


def user(*words: str, name: str = "t", fresh: Selector = FRESH) -> User:
    return User(name=name, root=fresh).changed(merged([word.encode() for word in words]), fresh)


def refusal(*words: str) -> str:
    with pytest.raises(BadWord) as caught:
        user(*words)
    return caught.value.reason


def may(someone: User, *request: str) -> str | None:
    """Why a request is refused, ``reason:object``; None when it may run."""
    argv: Argv = tuple(word.encode() for word in request)
    command = find(COMMANDS, argv[0])
    assert command is not None
    if command.subcommands and len(argv) > 1:
        command = command.subcommands[argv[1].lower()]
    denial = someone.denial(command, argv)
    return None if denial is None else f"{denial.reason}:{denial.object.decode()}"


# ---------------------------------------------------------------- printing: what Valkey 9.1.2 prints for the same words

PRINTED = {
    (): "off resetchannels -@all",
    ("on", "+@all", "-sentinel", "+sentinel|masters", "&a", "&b"): (
        "on resetchannels &a &b +@all -sentinel +sentinel|masters"
    ),
    ("+@ADMIN", "-@admin", "+@slow", "+client|ID", "+client", "+CLIENT|id", "-client|id"): (
        "off resetchannels -@all -@admin +@slow +client -client|id"
    ),
    ("+ping|X", "+ping|y", "+ping"): "off resetchannels -@all +ping",
    ("-ping", "+ping|X", "+ping|x"): "off resetchannels -@all -ping +ping|x",
    ("+ping", "-ping"): "off resetchannels -@all -ping",
    ("+@all", "-ping", "-@all", "+@all", "+ping"): "off resetchannels +@all +ping",
    ("%R~a", "%W~b", "%RW~c", "%wr~e", "~f", "~f", "%R~f", "%W~a"): "off ~a %W~b ~c ~e ~f resetchannels -@all",
    ("allkeys", "resetkeys", "~q", "%RW~*"): "off ~q ~* resetchannels -@all",
    ("db=1,0,5,5",): "off resetchannels db=0,1,5 -@all",
    ("db=1", "db=2", "(db=3", "+ping)"): "off resetchannels db=2 -@all (resetchannels db=3 -@all +ping)",
    ("db=1", "resetdbs"): "off resetchannels resetdbs -@all",
    ("db=00,+1",): "off resetchannels db=0,1 -@all",
    ("ON", "NOPASS", "ALLKEYS", "ALLCHANNELS", "ALLCOMMANDS", "ALLDBS", "NOCOMMANDS"): "on nopass ~* &* -@all",
    (
        "(  +ping   ~a )",
        "(~a\t+ping)",
    ): "off resetchannels -@all " + "(~a resetchannels -@all +ping) (~a resetchannels -@all +ping)",
    ("(+@all -ping ~* &* alldbs allcommands)",): "off resetchannels -@all (~* &* +@all)",
    ("(", "+ping", "", ")", "()"): "off resetchannels -@all (resetchannels -@all +ping) (resetchannels -@all)",
    ('("+ping")',): "off resetchannels -@all (resetchannels -@all +ping)",
    ("(+ping)", "clearselectors", ""): "off resetchannels -@all",
    ("sanitize-payload", "SKIP-sanitize-payload"): "off resetchannels -@all",
    ("%RW~*",): "off ~* resetchannels -@all",
    ("~foo", "%R~*", "%W~*"): "off ~foo ~* resetchannels -@all",
    ("&a", "&a", "&*", "allchannels"): "off &* -@all",
    ("on", "nopass", "+@all", "&*", "(+ping)", "reset"): "off resetchannels -@all",
    ("nopass", ">q"): "off #8e35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf resetchannels -@all",
    (">q", "nopass"): "off nopass resetchannels -@all",
    (">q", "resetpass"): "off resetchannels -@all",
}


@pytest.mark.parametrize("words", PRINTED, ids=" ".join)
def test_printed_as_valkey_prints_it(words: tuple[str, ...]) -> None:
    assert user(*words).words.decode() == PRINTED[words]


@pytest.mark.parametrize("words", [("%RW~*", "~foo"), ("%R~*", "%W~*", "~foo"), ("(%RW~* ~foo)",)])
def test_what_stock_could_not_read_again_is_printed_otherwise(words: tuple[str, ...]) -> None:
    """Stock prints ``~* ~foo``, saves it, and then refuses its own file."""
    someone = evolve(user(*words), name="t")
    assert b"%RW~* ~foo" in someone.line
    assert acl_file.read_file(someone.line + b"\n", "f", FRESH)["t"] == someone


AFTER_ALL = (
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. "
    "Try 'resetchannels' to start with an empty list of channels"
)
BAD_HASH = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
UNKNOWN = "Unknown command or category name in ACL"
REFUSED = {
    **dict.fromkeys(("foo", "(on)", "(+ping on)", "(+ping (+x))", ")", ")(", "x(", "(reset)"), "Syntax error"),
    **dict.fromkeys(
        ("+client|", "+ping|", "%~d", "%", "%X~d", "&a b", "~a\tb", "db=", "db=x", "db=1,"), "Syntax error"
    ),
    **dict.fromkeys(("db=1,,2", "on\n", "((+ping))", '(~"a b")'), "Syntax error"),
    **dict.fromkeys(("+get", "-get", "+client|foo", "-ping|foo", "+", "-", "+|", "+@", "+@foo", "-@foo"), UNKNOWN),
    **dict.fromkeys(("+ping|a|b", "+@all|x", "+@sentinel", "-@all|x"), UNKNOWN),
    "+sentinel|set|x": "Allowing first-arg of a subcommand is not supported",
    "<z": "The password you are trying to remove from the user does not exist",
    "!" + "a" * 64: "The password you are trying to remove from the user does not exist",
    "#xx": BAD_HASH,
    "#" + "A" * 64: BAD_HASH,
    "!zz": BAD_HASH,
    "db=-1": "The provided database ID is out of range",
    "db=9999999999": "The provided database ID is out of range",
}


@pytest.mark.parametrize("word", REFUSED)
def test_bad_words_get_the_reason_of_stock(word: str) -> None:
    assert refusal(word) == REFUSED[word]


@pytest.mark.parametrize("word", ['(~a"b)', "(&a' )", "(&x) &y)", '+ping|"a', "+ping|a b"])
def test_what_could_not_be_read_again_is_refused(word: str) -> None:
    """Stock takes these, then drops the selector, mixes up its own file, or crashes when it prints the user."""
    assert refusal(word) == "Syntax error"


def test_patterns_after_all_are_refused() -> None:
    assert refusal("&*", "&b") == AFTER_ALL
    assert refusal("~*", "~b") == AFTER_ALL.replace("channels", "keys").replace("list of keys", "list of patterns")
    assert refusal("(allkeys ~a)").startswith("Adding a pattern after the * pattern (or the 'allkeys' flag)")


def test_a_bad_word_leaves_the_user_as_it_was() -> None:
    before = user("on", "+ping")
    with pytest.raises(BadWord) as caught:
        before.changed([b"+info", b"+get"], FRESH)
    assert (caught.value.place, caught.value.word) == (1, b"+get")
    assert may(before, "info") is not None


@pytest.mark.parametrize("words", [["on", "(+ping"], ["(+ping)x"], ["(", "+ping"]])
def test_an_open_parenthesis_is_found(words: list[str]) -> None:
    with pytest.raises(Unmatched) as caught:
        merged([word.encode() for word in words])
    assert caught.value.word.startswith(b"(")


def test_new_users_hear_everything_where_the_configuration_says_so() -> None:
    fresh = acl_file.fresh_selector("allchannels")
    assert user("+ping", "(+info)", fresh=fresh).words == b"off &* -@all +ping (&* -@all +info)"
    assert user("&a", "reset", fresh=FRESH).words == b"off resetchannels -@all"


# ---------------------------------------------------------------- passwords


def test_passwords() -> None:
    someone = user("on", ">one", ">two", ">one")
    assert someone.hashes == (digest_of(b"one"), digest_of(b"two"))
    assert someone.lets_in(b"one")
    assert someone.lets_in(b"two")
    assert not someone.lets_in(b"three")
    assert not someone.changed([b"<one"], FRESH).lets_in(b"one")
    assert not someone.changed([b"off"], FRESH).lets_in(b"one")
    assert someone.changed([b"nopass"], FRESH).lets_in(b"anything")
    assert not user("nopass").lets_in(b"")


def test_a_password_is_in_no_text_about_the_user() -> None:
    assert "hunter2" not in repr(user("on", ">hunter2"))
    assert digest_of(b"hunter2") not in repr(user("on", ">hunter2"))


# ---------------------------------------------------------------- deciding


def test_auth_and_hello_are_never_refused() -> None:
    nobody = user()
    assert may(nobody, "auth", "x") is None
    assert may(nobody, "hello") is None
    assert may(nobody, "ping") == "command:ping"


def test_a_category_takes_all_subcommands_of_its_containers() -> None:
    """6.2: `+@all -@dangerous` takes away all of SENTINEL, and leaves PING, SUBSCRIBE, CLIENT ID and COMMAND."""
    careful = user("+@all", "-@dangerous", "&*")
    for request in ("info", "role", "shutdown", "sentinel help", "sentinel get-master-addr-by-name m", "acl list"):
        assert may(careful, *request.split()) is not None, request
    for request in ("ping", "subscribe x", "publish x y", "client id", "acl whoami", "command", "command count"):
        assert may(careful, *request.split()) is None, request
    again = careful.changed([b"+sentinel|masters"], FRESH)
    assert may(again, "sentinel", "masters") is None
    assert may(again, "SENTINEL", "Replicas", "m") == "command:sentinel|replicas"


def test_subcommands_and_first_arguments() -> None:
    assert may(user("+client|id"), "client", "id") is None
    assert may(user("+client|id"), "client", "list") == "command:client|list"
    assert may(user("+client", "-client|id"), "client", "id") == "command:client|id"
    picky = user("+ping|Hi")
    assert may(picky, "ping", "hI") is None
    assert may(picky, "ping") == "command:ping"
    assert may(picky, "ping", "ho") == "command:ping"
    assert may(picky.changed([b"-ping"], FRESH), "ping", "hi") == "command:ping"
    assert may(picky.changed([b"-@fast"], FRESH), "ping", "hi") == "command:ping"


def test_channels() -> None:
    listener = user("+@all", "&foo*", "&bar")
    assert may(listener, "subscribe", "foo1", "bar") is None
    assert may(listener, "subscribe", "foo1", "baz", "qux") == "channel:baz"
    assert may(listener, "psubscribe", "foo*") is None
    assert may(listener, "psubscribe", "foo1") == "channel:foo1"
    assert may(listener, "publish", "bar", "payload") is None
    assert may(listener, "publish", "__sentinel__:hello", "x") == "channel:__sentinel__:hello"
    assert may(listener, "unsubscribe", "baz") is None
    assert may(user("+@all", "resetchannels"), "subscribe", "x") == "channel:x"
    assert may(user("+@all", "&*"), "psubscribe", "*") is None


def test_a_selector_is_tried_when_the_root_refuses() -> None:
    someone = user("+subscribe", "&a*", "(+psubscribe", "&b*)", "(+ping)")
    assert may(someone, "subscribe", "a1") is None
    assert may(someone, "psubscribe", "b*") is None
    assert may(someone, "ping") is None
    assert may(someone, "subscribe", "b1") == "channel:b1"
    assert may(someone, "subscribe", "a1", "b1") == "channel:b1"
    assert may(someone, "info") == "command:info"
    assert someone.may_hear(b"b*", pattern=True)
    assert not someone.may_hear(b"c", pattern=False)


def test_only_a_user_with_everything_is_unrestricted() -> None:
    assert user("+@all", "&*").unrestricted
    assert user("-@all", "+@slow", "+@fast", "&*").unrestricted
    assert not user("+@all").unrestricted
    assert not user("+@all", "-ping", "&*").unrestricted
    assert not user("(+@all &*)").unrestricted


# ---------------------------------------------------------------- properties

RULES = st.one_of(
    st.sampled_from([sign + name for sign in "+-" for name in sorted(NAMES)]),
    st.sampled_from(
        [f"{sign}@{name}" for sign in "+-" for name in ("all", "slow", "fast", "admin", "pubsub", "string")]
    ),
    st.sampled_from(
        ["allchannels", "resetchannels", "allkeys", "resetkeys", "alldbs", "resetdbs", "+ping|x", "+info|Y"]
    ),
    st.from_regex(r"&[a-c*(]{1,3}", fullmatch=True),
    st.from_regex(r"(~|%R~|%W~|%RW~)[a-c*]{1,3}", fullmatch=True),
    st.from_regex(r"db=[0-9]{1,2}(,[0-9]{1,2}){0,2}", fullmatch=True),
)
WORDS = st.one_of(
    RULES,
    st.lists(RULES, max_size=3).map(lambda rules: f"({' '.join(rules)})"),
    st.sampled_from(["on", "off", "nopass", "resetpass", ">one", ">two", "<one", "clearselectors", "reset"]),
)


def grown(words: list[str]) -> User:
    """A user after those of `words` that can be applied."""
    someone = User(name="t")
    for word in words:
        try:
            someone = someone.changed([word.encode()], FRESH)
        except BadWord:
            continue
    return someone


@given(st.lists(WORDS, max_size=8))
def test_what_is_printed_makes_the_same_user(words: list[str]) -> None:
    """The line of ACL LIST, read from an ACL file or from sentinel.conf, allows exactly what it allowed before."""
    someone = grown(words)
    from_file = acl_file.read_file(someone.line + b"\n", "f", FRESH)["t"]
    from_conf = acl_file.users_of([acl_file.line_words(someone)], FRESH, password="")["t"]
    assert meant(from_file) == meant(from_conf) == meant(someone)
    assert meant(from_file).line == meant(someone).line
    for selector, again in zip((someone.root, *someone.selectors), (from_file.root, *from_file.selectors), strict=True):
        assert selector.allowed == again.allowed
    for command in every(COMMANDS):
        for more in ((), (b"x",), (b"a", b"b")):
            argv: Argv = (*command.name.encode().split(b"|"), *more)
            assert someone.denial(command, argv) == from_file.denial(command, argv)


@given(st.lists(WORDS, max_size=6), WORDS)
def test_no_selector_takes_a_right_away(words: list[str], more: str) -> None:
    someone = grown(words)
    try:
        wider = someone.changed([f"({more.strip('()')})".encode()], FRESH)
    except BadWord:
        return
    for command in every(COMMANDS):
        argv: Argv = (*command.name.encode().split(b"|"), b"a")
        if someone.denial(command, argv) is None:
            assert wider.denial(command, argv) is None


@given(st.lists(WORDS, max_size=6))
def test_the_short_cut_agrees_with_the_rules(words: list[str]) -> None:
    someone = grown(words)
    if someone.unrestricted:
        for command in every(COMMANDS):
            argv: Argv = (*command.name.encode().split(b"|"), b"a")
            assert someone.denial(command, argv) is None


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_any_bytes_make_a_user_or_a_bad_word(words: list[bytes]) -> None:
    try:
        someone = User(name="t").changed(merged(words), FRESH)
    except (BadWord, Unmatched):
        return
    assert meant(acl_file.read_file(someone.line + b"\n", "f", FRESH)["t"]) == meant(someone)


def test_the_rules_of_one_user_have_a_number() -> None:
    """Each is compared with all before it: thousands would hold up everybody else for seconds."""
    user = User(name="u").changed([b"+ping|%d" % number for number in range(MAX_RULES)], Selector())
    for word in (b"&c", b">p", b"(+ping)", b"~k"):
        with pytest.raises(BadWord, match="Too many rules for one user"):
            user.changed([word], Selector())
    assert user.changed([b"reset", b"+ping"], Selector()).size == 1
    with pytest.raises(BadWord, match="Too many rules for one user"):
        User(name="u").changed([b"(" + b" ".join(b"&%d" % n for n in range(MAX_RULES + 1)) + b")"], Selector())
