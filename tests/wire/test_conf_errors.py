"""Files that must be refused, each with the text and line of stock (specification 1.4 and 1.5).

``tests/real/test_conf_stock.py`` holds the same table against the running programs.
"""

from __future__ import annotations

import enum
from typing import Final

import pytest
from attrs import frozen

from trio_sentinel.errors import ConfigError, StartupError
from trio_sentinel.wire.conf import Configuration, fatal_report, load_configuration
from trio_sentinel.wire.conf_secrets import shown_line


class Who(enum.Enum):
    """Who gives this very text."""

    ALL = enum.auto()
    VALKEY = enum.auto()  # Redis 7.0 differs
    OURS = enum.auto()  # we are stricter than both


@frozen
class Bad:
    """A file, and the report about it; the line shown is the `line`th of `text`."""

    text: bytes
    problem: str
    line: int | None = 1
    who: Who = Who.ALL


M: Final = b"sentinel monitor m 127.0.0.1 1 1\n"
ID: Final = b"a" * 40
DIRECTIVE: Final = "Bad directive or wrong number of arguments"
COUNT: Final = "wrong number of arguments"
INTEGER: Final = "argument couldn't be parsed into an integer"
OCTAL: Final = "argument couldn't be parsed as an octal number"
MEMORY: Final = "argument must be a memory value"
QUOTES: Final = "Unbalanced quotes in configuration line"
YES_NO: Final = "argument must be 'yes' or 'no'"
LIMIT_COUNT: Final = "Wrong number of arguments in buffer limit configuration."
LIMIT_CLASS: Final = "Invalid client class specified in buffer limit configuration."
LIMIT_VALUE: Final = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
TITLE: Final = "template format is invalid or contains unknown variables"
NO_COMMAND: Final = "No such command in rename-command"
DUPLICATE_USER: Final = "Duplicate user found. A user can only be defined once in config files"
STATEMENT: Final = "Unrecognized sentinel configuration statement."
MASTER: Final = "No such master with specified name."
QUORUM: Final = "Quorum must be 1 or greater."
PORT: Final = "Invalid port number."
HOST: Final = "Can't resolve instance hostname."
TIME: Final = "negative or zero time parameter."
EPOCH: Final = "Epoch must be between 0 and 9223372036854775807 inclusive."


def one_of(*words: str) -> str:
    return f"argument(s) must be one of the following: {', '.join(words)}"


GENERAL: Final = [
    Bad(b"nosuch 1\n", DIRECTIVE),
    Bad(b'"" x\n', DIRECTIVE),
    Bad(b"\xef\xbb\xbfport 1\n", DIRECTIVE),
    Bad(b"port\v1\n", DIRECTIVE),
    Bad(b"# x\n\n  nosuch\t1  \n", DIRECTIVE, 3),
    Bad(b"user\n", DIRECTIVE),
    Bad(b"include\n", DIRECTIVE),
    Bad(b"include a b\n", DIRECTIVE),
    Bad(b"rename-command a\n", DIRECTIVE),
    Bad(b"port\n", COUNT),
    Bad(b"port 1 # x\n", COUNT),
    Bad(b"bind-source-addr a b\n", COUNT),
    Bad(b"databases 1 2\n", COUNT),
    Bad(b'port "1\n', QUOTES),
    Bad(b"port '1\n", QUOTES),
    Bad(b"daemonize maybe\n", YES_NO),
    Bad(b"Set-Proc-Title 1\n", YES_NO),
    Bad(b"loglevel loud\n", one_of("debug", "verbose", "notice", "warning", "nothing"), who=Who.VALKEY),
    Bad(b"log-format xml\n", one_of("legacy", "logfmt", "json"), who=Who.VALKEY),
    Bad(b"log-timestamp-format x\n", one_of("legacy", "iso8601", "milliseconds"), who=Who.VALKEY),
    Bad(b"supervised yes\n", one_of("upstart", "systemd", "auto", "no")),
    Bad(b"syslog-facility mail\n", one_of("user", *(f"local{n}" for n in range(8)))),
    Bad(b"tls-auth-clients maybe\n", one_of("no", "yes", "optional")),
    Bad(b"tls-auth-clients-user x\n", one_of("CN", "URI", "off"), who=Who.VALKEY),
    Bad(b"acl-pubsub-default x\n", one_of("allchannels", "resetchannels")),
    *(Bad(b'port "%s"\n' % word, INTEGER) for word in (b"", b"x", b"070", b"0x10", b" 1", b"+1", b"-0", b"1.0")),
    Bad(b"timeout 99999999999999999999\n", INTEGER),
    Bad(b"port 65536\n", "argument must be between 0 and 65535 inclusive"),
    Bad(b"port -1\n", "argument must be between 0 and 65535 inclusive"),
    Bad(b"timeout 2147483648\n", "argument must be between 0 and 2147483647 inclusive"),
    Bad(b"maxclients 0\n", "argument must be between 1 and 4294967295 inclusive"),
    Bad(b"maxclients 4294967296\n", "argument must be between 1 and 4294967295 inclusive"),
    Bad(b"acllog-max-len -1\n", "argument must be between 0 and 9223372036854775807 inclusive"),
    *(Bad(b'unixsocketperm "%s"\n' % word, OCTAL) for word in (b"888", b"0x7", b"rwx")),
    Bad(b"unixsocketperm 1777\n", "argument must be between 0 and 777 inclusive"),
    Bad(b"unixsocketperm -1\n", "argument must be between 0 and 777 inclusive"),
    *(Bad(b"client-query-buffer-limit %s\n" % word, MEMORY) for word in (b"1tb", b"5%", b"-5", b"1.5mb", b"x")),
    Bad(b"client-query-buffer-limit 1\n", "argument must be between 1048576 and 9223372036854775807 inclusive"),
    Bad(b"proto-max-bulk-len 99999999999999999999\n", MEMORY, who=Who.VALKEY),
    Bad(b"proto-max-bulk-len 1kb\n", "argument must be between 1048576 and 9223372036854775807 inclusive"),
    Bad(b"proto-max-bulk-len mb\n", "argument must be between 1048576 and 9223372036854775807 inclusive"),
    Bad(b"client-output-buffer-limit normal 0 0\n", LIMIT_COUNT),
    Bad(b"client-output-buffer-limit normal 0 0 0 pubsub\n", LIMIT_COUNT),
    Bad(b"client-output-buffer-limit master 0 0 0\n", LIMIT_CLASS),
    Bad(b"client-output-buffer-limit normal 1 1 1 bogus 1 1 1\n", LIMIT_CLASS),
    *(
        Bad(b"client-output-buffer-limit normal %s\n" % words, LIMIT_VALUE)
        for words in (b"-1 0 0", b"0 x 0", b"0 0 -1", b"0 0 x")
    ),
    Bad(b"bind " + b"1 " * 17 + b"\n", "Too many bind addresses specified."),
    *(Bad(b'proc-title-template "%s"\n' % word, TITLE) for word in (b"", b"{bogus}", b"{title", b"a}{pid}")),
    Bad(b"foo.bar\n", "Module config specified without value"),
    Bad(b"rename-command nosuch x\n", NO_COMMAND),
    Bad(b"rename-command GET x\n", NO_COMMAND),
    Bad(b'rename-command SHUTDOWN ""\nrename-command SHUTDOWN ""\n', NO_COMMAND, 2),
    Bad(b"rename-command PING INFO\n", "Target command name already exists"),
    Bad(b"user a on\nuser a on\n", f"Error in user declaration 'a': {DUPLICATE_USER}", 2),
    Bad(b"dir /nope\n", "No such file or directory"),
    Bad(b'dir ""\n', "dir can't be empty", who=Who.VALKEY),
    Bad(b"logfile /nope/x\n", "Can't open the log file: No such file or directory", None),
    Bad(b"logfile /nope/x\nport x\n", INTEGER, 2),
    Bad(b"sentinel bogus\nport x\n", INTEGER, 2),
]

STATEMENTS: Final = [
    Bad(b"sentinel bogus\n", STATEMENT),
    Bad(b"sentinel bogus x\n", STATEMENT),
    Bad(b"sentinel announce-ip\n", STATEMENT),
    Bad(b"sentinel announce-ip a b\n", STATEMENT),
    Bad(b"sentinel monitor m 127.0.0.1 1\n", STATEMENT),
    Bad(M + b"sentinel auth-pass m a b\n", STATEMENT, 2),
    Bad(M + b"sentinel debug info-period 1000\n", STATEMENT, 2),
    *(Bad(b"sentinel monitor m 127.0.0.1 1 %s\n" % word, QUORUM) for word in (b"0", b"-1", b"x")),
    *(Bad(b"sentinel monitor m 127.0.0.1 %s 1\n" % word, PORT) for word in (b"-1", b"65536")),
    Bad(b"sentinel monitor m foo 65536 0\n", QUORUM),
    Bad(b"sentinel monitor m foo 65536 1\n", PORT),
    Bad(b"sentinel monitor m foo 1 1\n", HOST),
    Bad(b'sentinel monitor m "" 1 1\n', HOST),
    Bad(M + b"# again\n" + M, "Duplicate master name.", 3),
    *(
        Bad(b"sentinel %s x 1\n" % name, MASTER)
        for name in (
            b"down-after-milliseconds",
            b"failover-timeout",
            b"parallel-syncs",
            b"notification-script",
            b"client-reconfig-script",
            b"auth-pass",
            b"auth-user",
            b"master-reboot-down-after-period",
            b"config-epoch",
            b"leader-epoch",
        )
    ),
    Bad(b"sentinel rename-command x a b\n", MASTER),
    Bad(b"sentinel known-replica x 127.0.0.1 1\n", MASTER),
    Bad(b"sentinel known-slave x 127.0.0.1 1\n", MASTER),
    Bad(b"sentinel known-sentinel x 127.0.0.1 1 %s\n" % ID, MASTER),
    Bad(b"sentinel down-after-milliseconds x 0\n", MASTER),
    *(Bad(M + b"sentinel down-after-milliseconds m %s\n" % word, TIME, 2) for word in (b"0", b"-1", b"x")),
    Bad(M + b"sentinel down-after-milliseconds m 3000000000\n", TIME, 2),
    Bad(M + b"sentinel failover-timeout m 0\n", TIME, 2),
    Bad(M + b"sentinel master-reboot-down-after-period m -1\n", "negative time parameter.", 2),
    Bad(M + b"sentinel primary-reboot-down-after-period m -1\n", "negative time parameter.", 2, Who.VALKEY),
    Bad(
        M + b"sentinel notification-script m /nope\n",
        "Notification script seems non existing or non executable.",
        2,
    ),
    Bad(M + b'sentinel notification-script m ""\n', "Notification script seems non existing or non executable.", 2),
    Bad(
        M + b"sentinel client-reconfig-script m /nope\n",
        "Client reconfiguration script seems non existing or non executable.",
        2,
    ),
    Bad(
        M + b"sentinel rename-command m a b\nsentinel rename-command m A c\n",
        "Same command renamed multiple times with rename-command.",
        3,
    ),
    Bad(
        M + b"sentinel known-replica m 127.0.0.1 1\nsentinel known-slave m 127.0.0.1 1\n",
        "Duplicate hostname and port for replica.",
        3,
    ),
    Bad(M + b"sentinel known-replica m foo 1\n", HOST, 2),
    Bad(M + b"sentinel known-replica m 127.0.0.1 65536\n", PORT, 2),
    Bad(
        M + b"sentinel known-sentinel m 127.0.0.1 1 %s\nsentinel known-sentinel m 127.0.0.1 2 %s\n" % (ID, ID),
        "Duplicate runid for sentinel.",
        3,
    ),
    Bad(M + b"sentinel known-sentinel m foo 1 %s\n" % ID, HOST, 2),
    Bad(M + b"sentinel known-sentinel m 127.0.0.1 65536 %s\n" % ID, PORT, 2),
    Bad(b"sentinel myid abc\n", "Malformed Sentinel id in myid option."),
    Bad(
        b"sentinel deny-scripts-reconfig maybe\n",
        "Please specify yes or no for the deny-scripts-reconfig options.",
    ),
    Bad(b"sentinel resolve-hostnames maybe\n", "Please specify yes or no for the resolve-hostnames option."),
    Bad(b"sentinel announce-hostnames maybe\n", "Please specify yes or no for the announce-hostnames option."),
    # the passes: what is global comes first, then the masters
    Bad(b"sentinel monitor m 127.0.0.1 1 0\nsentinel myid x\n", "Malformed Sentinel id in myid option.", 2),
    Bad(b"sentinel down-after-milliseconds m 0\nsentinel monitor m 127.0.0.1 1 0\n", QUORUM, 2),
    # stricter than stock
    Bad(b"sentinel monitor m 127.0.0.1 1x 1\n", PORT, who=Who.OURS),
    Bad(b"sentinel monitor m 127.0.0.1 1 2x\n", QUORUM, who=Who.OURS),
    Bad(M + b"sentinel parallel-syncs m x\n", "parallel-syncs must be a number.", 2, Who.OURS),
    Bad(b"sentinel announce-port 65536\n", PORT, who=Who.OURS),
    Bad(b"sentinel announce-port x\n", PORT, who=Who.OURS),
    *(
        Bad(b"sentinel current-epoch %s\n" % word, EPOCH, who=Who.OURS)
        for word in (b"-1", b"x", b"9223372036854775808")
    ),
    Bad(M + b"sentinel config-epoch m 18446744073709551615\n", EPOCH, 2, Who.OURS),
    Bad(M + b"sentinel leader-epoch m -1\n", EPOCH, 2, Who.OURS),
]

BAD: Final = [*GENERAL, *STATEMENTS]


def _no_file(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def _only_the_root(path: str) -> None:
    if path.startswith("/nope"):
        _no_file(path)


def load(text: bytes) -> Configuration:
    """Load in a world where nothing below /nope exists."""
    return load_configuration(
        text,
        path="/etc/sentinel.conf",
        read_file=_no_file,
        glob_files=lambda pattern: [],
        is_executable=lambda path: not path.startswith("/nope"),
        resolve=lambda host: None,
        working_dir="/work",
        enter_dir=_only_the_root,
        open_log=_only_the_root,
    )


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad.text)[2:72])
def test_a_bad_file_is_refused_with_the_text_of_stock(bad: Bad) -> None:
    with pytest.raises(ConfigError) as caught:
        load(bad.text)
    error = caught.value
    assert (error.problem, error.line) == (bad.problem, bad.line)
    if bad.line is not None:
        shown = bad.text.split(b"\n")[bad.line - 1].strip(b" \t\r").decode("utf-8", "surrogateescape")
        assert error.source == shown_line(shown)


def test_a_missing_included_file_is_told_to_the_log() -> None:
    with pytest.raises(StartupError) as caught:
        load(b"include /nope.conf\n")
    assert caught.value.lines == ("Fatal error, can't open config file '/nope.conf': No such file or directory",)


def test_the_report_has_the_shape_of_valkey_9() -> None:
    with pytest.raises(ConfigError) as caught:
        load(b"port 1\n\n " + b"sentinel down-after-milliseconds mm 0 \n")
    assert fatal_report(caught.value, "9.1.2") == (
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\n"
        "Reading the configuration file, at line 3\n"
        ">>> 'sentinel down-after-milliseconds mm 0'\n"
        "No such master with specified name.\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(b"logfile /nope/x\n")
    assert fatal_report(caught.value, "9.1.2") == (
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nCan't open the log file: No such file or directory\n"
    )
