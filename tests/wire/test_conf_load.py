"""Loading sentinel.conf: passes, includes, options, values (specification 1.1 to 1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, Final

import pytest
from attrs import evolve

from trio_sentinel.errors import ConfigError
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.values import Address, RunId
from trio_sentinel.wire.conf import Configuration, Directives, load_configuration

M: Final = b"sentinel monitor m 127.0.0.1 6379 2\n"
NAMES: Final = {"one": "10.0.0.1", "uno": "10.0.0.1", "two": "10.0.0.2"}


def load(
    text: bytes,
    *options: str,
    stdin: bytes | None = None,
    files: Mapping[str, bytes] = {},
    programs: Sequence[str] = (),
    names: Mapping[str, str] = NAMES,
) -> Configuration:
    """Load with these included files, executables and resolvable names."""
    return load_configuration(
        text,
        path="/etc/sentinel.conf",
        options=options,
        stdin=stdin,
        read_file=lambda path: files[path],
        glob_files=lambda pattern: sorted(path for path in files if fnmatch(path, pattern)),
        is_executable=lambda path: path in programs,
        resolve=names.get,
        working_dir="/work",
    )


def the_master(loaded: Configuration) -> MasterSnapshot:
    (master,) = loaded.snapshot.masters
    return master


def test_the_minimal_file_has_the_defaults_of_sentinel_mode() -> None:
    loaded = load(b"sentinel monitor mymaster 10.0.0.11 6379 2\n")
    assert loaded.directives == Directives(dir="/work")
    assert loaded.directives.port == 26379
    assert loaded.directives.protected_mode is False
    master = MasterSnapshot(name="mymaster", address=Address("10.0.0.11", 6379), settings=MasterSettings(quorum=2))
    assert loaded.snapshot == Snapshot(my_id=None, current_epoch=0, settings=GlobalSettings(), masters=(master,))


MAXIMAL: Final = rb"""
port 26379
tls-port 26380
bind 0.0.0.0 -::
unixsocket /run/sentinel/sentinel.sock
unixsocketperm 770
protected-mode yes
maxclients 2000
bind-source-addr 10.0.0.21
client-output-buffer-limit pubsub 64mb 16mb 90
client-query-buffer-limit 64mb
proto-max-bulk-len 16mb
tls-replication yes
tls-auth-clients optional
tls-protocols "TLSv1.2 TLSv1.3"
user default off
user admin on >change-me ~* &* +@all
acllog-max-len 256
dir lib
dir sentinel
loglevel VERBOSE
logfile sentinel.log
syslog-facility local3
include /etc/sentinel/conf.d/*.conf
SENTINEL announce-ip sentinel-a.example.net
sentinel announce-port 36379
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel deny-scripts-reconfig no
sentinel sentinel-user admin
sentinel sentinel-pass change-me
sentinel auth-user cache watcher
sentinel auth-pass cache "p@ss \"quoted\" word"
sentinel down-after-milliseconds cache 5000
sentinel failover-timeout cache 60000
sentinel parallel-syncs cache 2
sentinel notification-script cache notify.sh
sentinel client-reconfig-script cache /opt/sentinel/reconfig.sh
sentinel master-reboot-down-after-period cache 3000
sentinel rename-command cache CONFIG cfg-7d1f
sentinel rename-command cache SLAVEOF repl-7d1f
sentinel monitor cache cache-1.example.net 6379 2
sentinel Monitor queue 10.0.0.31 6379 3
sentinel myid 0123456789abcdef0123456789abcdef01234567
sentinel current-epoch 12
sentinel config-epoch cache 11
sentinel leader-epoch cache 12
sentinel known-replica cache 10.0.0.12 6379
sentinel known-slave cache 10.0.0.13 6379
sentinel known-sentinel cache 10.0.0.22 26379 89abcdef0123456789abcdef0123456789abcdef
"""


def test_every_feature_at_once() -> None:
    loaded = load(MAXIMAL, programs=("/work/lib/sentinel/notify.sh", "/opt/sentinel/reconfig.sh"))
    assert loaded.directives == Directives(
        tls_port=26380,
        bind=("0.0.0.0", "-::"),
        unixsocket="/run/sentinel/sentinel.sock",
        unixsocketperm=0o770,
        protected_mode=True,
        maxclients=2000,
        bind_source_addr="10.0.0.21",
        client_output_buffer_limits=(
            ("normal", 0, 0, 0),
            ("replica", 268435456, 67108864, 60),
            ("pubsub", 67108864, 16777216, 90),
        ),
        client_query_buffer_limit=67108864,
        proto_max_bulk_len=16777216,
        tls_replication=True,
        tls_auth_clients="optional",
        tls_protocols="TLSv1.2 TLSv1.3",
        users=(("default", "off"), ("admin", "on", ">change-me", "~*", "&*", "+@all")),
        acllog_max_len=256,
        dir="/work/lib/sentinel",
        loglevel="verbose",
        logfile="sentinel.log",
        syslog_facility="local3",
    )
    cache = MasterSnapshot(
        name="cache",
        address=Address("cache-1.example.net", 6379),
        settings=MasterSettings(
            quorum=2,
            down_after_ms=5000,
            failover_timeout_ms=60000,
            parallel_syncs=2,
            reboot_down_after_ms=3000,
            notification_script="notify.sh",
            client_reconfig_script="/opt/sentinel/reconfig.sh",
            auth_user="watcher",
            auth_pass='p@ss "quoted" word',
            renamed_commands=(("CONFIG", "cfg-7d1f"), ("SLAVEOF", "repl-7d1f")),
        ),
        config_epoch=11,
        leader_epoch=12,
        replicas=(Address("10.0.0.12", 6379), Address("10.0.0.13", 6379)),
        peers=((RunId("89abcdef0123456789abcdef0123456789abcdef"), Address("10.0.0.22", 26379)),),
    )
    queue = MasterSnapshot(name="queue", address=Address("10.0.0.31", 6379), settings=MasterSettings(quorum=3))
    settings = GlobalSettings(
        announce_ip="sentinel-a.example.net",
        announce_port=36379,
        sentinel_user="admin",
        sentinel_pass="change-me",
        resolve_hostnames=True,
        announce_hostnames=True,
        deny_scripts_reconfig=False,
    )
    my_id = RunId("0123456789abcdef0123456789abcdef01234567")
    assert loaded.snapshot == Snapshot(my_id=my_id, current_epoch=12, settings=settings, masters=(cache, queue))


@pytest.mark.parametrize(
    "line",
    [
        b"sentinel current-epoch 7\nsentinel current-epoch 3\n",
        b"sentinel config-epoch m 7\n",
        b"sentinel leader-epoch m 7\n",
    ],
)
def test_the_current_epoch_is_the_largest_in_the_file(line: bytes) -> None:
    assert load(line + M + b"sentinel current-epoch 5\n").snapshot.current_epoch == 7


def test_empty_values_of_global_lines_mean_nothing_and_those_of_a_master_are_values() -> None:
    text = M + b'sentinel announce-ip x\nsentinel announce-ip ""\nsentinel sentinel-pass ""\nsentinel auth-pass m ""\n'
    loaded = load(text)
    assert (loaded.snapshot.settings.announce_ip, loaded.snapshot.settings.sentinel_pass) == ("x", None)
    assert the_master(loaded).settings.auth_pass == ""


def test_the_old_form_of_known_sentinel_and_our_own_id_are_forgotten() -> None:
    mine, other = b"a" * 40, b"b" * 40
    text = (
        b"sentinel known-sentinel nobody 127.0.0.1 1\nsentinel known-sentinel m 127.0.0.1 1 %s\n"
        b'sentinel known-sentinel m 127.0.0.1 2 %s\nsentinel known-sentinel m 127.0.0.1 3 ""\nsentinel myid %s\n'
    ) % (mine, other, mine)
    assert the_master(load(M + text)).peers == ((RunId(other.decode()), Address("127.0.0.1", 2)),)


def test_ipv6_is_written_as_servers_report_it_and_names_stay() -> None:
    loaded = load(b"sentinel resolve-hostnames yes\nsentinel monitor a 0:0::1 1 1\nsentinel monitor b One 1 1\n")
    assert [master.address.host for master in loaded.snapshot.masters] == ["::1", "One"]


def test_two_names_of_one_server_are_one_replica() -> None:
    text = M + b"sentinel resolve-hostnames yes\nsentinel known-replica m one 1\n"
    assert the_master(load(text + b"sentinel known-replica m uno 1\n")).replicas == (Address("one", 1),)
    both = (Address("one", 1), Address("two", 1), Address("gone", 1), Address("lost", 1))
    more = b"sentinel known-replica m two 1\nsentinel known-replica m gone 1\nsentinel known-replica m lost 1\n"
    assert the_master(load(text + more)).replicas == both
    with pytest.raises(ConfigError, match="Duplicate hostname and port for replica"):
        load(text + b"sentinel known-replica m ONE 1\n")


def test_the_resolver_is_left_alone_without_host_names() -> None:
    class Trap(dict[str, str]):
        def get(self, key: str, default: object = None) -> str:
            raise AssertionError(key)

    text = M + b"sentinel known-replica m 127.0.0.1 1\nsentinel known-replica m 127.0.0.2 1\n"
    assert len(the_master(load(text, names=Trap())).replicas) == 2


# ---------------------------------------------------------------- general directives


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (b"port 0", {"port": 0}),
        (b"PORT 7\nport 8", {"port": 8}),
        (b'bind ""', {"bind": ()}),
        (b"bind", {"bind": ()}),
        (b"bind 127.0.0.1 -::1", {"bind": ("127.0.0.1", "-::1")}),
        (b"unixsocketperm 0770", {"unixsocketperm": 0o770}),
        (b"client-query-buffer-limit 2M", {"client_query_buffer_limit": 2_000_000}),
        (b"client-query-buffer-limit 2gB", {"client_query_buffer_limit": 2 << 30}),
        (b"client-query-buffer-limit 1048577b", {"client_query_buffer_limit": 1048577}),
        (b'requirepass "a \\"b\\""', {"requirepass": 'a "b"'}),
        (b"dir ../x//y/.", {"dir": "/x/y"}),
        (b"daemonize YES", {"daemonize": True}),
        (b"log-format JSON", {"log_format": "json"}),
        (b"tls-auth-clients-user cn", {"tls_auth_clients_user": "CN"}),
        (b'proc-title-template "{title}{{ {config-file}"', {"proc_title_template": "{title}{{ {config-file}"}),
        (b"rename-command PING a\nrename-command A b", {"renamed_commands": (("PING", "a"), ("A", "b"))}),
        (b"sentinel", {}),
        (b"some.module x y z", {}),
        (b'save ""\nsave 60 1 30 2\nreplicaof a 1\nloadmodule /x y\noom-score-adj-values 0 1 2\nhz 10', {}),
        (b"user default on sanitize-payload ~*", {"users": (("default", "on", "sanitize-payload", "~*"),)}),
    ],
)
def test_values_of_general_directives(line: bytes, changes: dict[str, Any]) -> None:
    assert load(line).directives == evolve(Directives(dir="/work"), **changes)


def test_buffer_limits_accumulate() -> None:
    loaded = load(b"client-output-buffer-limit slave 1 1 1 pubsub 1kb 2 3\nclient-output-buffer-limit NORMAL 4 5 6")
    limits = (("normal", 4, 5, 6), ("replica", 1, 1, 1), ("pubsub", 1024, 2, 3))
    assert loaded.directives.client_output_buffer_limits == limits


BAD_HASH = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"user bob on foo", "Error in user declaration 'bob': Syntax error"),
        (b"user bob on >pw (+ping", "Error in user declaration 'on': Wrong format"),
        (
            b"user bob #abc",
            f"Error in user declaration 'user': {BAD_HASH}",
        ),
        (
            b"user bob on\nuser bob off",
            "Error in user declaration 'bob': Duplicate user found. A user can only be defined once in config files",
        ),
    ],
)
def test_a_bad_user_line_is_blamed_as_in_stock(line: bytes, problem: str) -> None:
    """Stock names the word two before the bad one."""
    with pytest.raises(ConfigError) as caught:
        load(line)
    assert caught.value.problem == problem


def test_a_command_that_does_not_exist_is_left_to_the_start() -> None:
    assert load(b"user bob on +get").directives.users == (("bob", "on", "+get"),)


# ---------------------------------------------------------------- includes


def test_included_files_act_where_they_are_included() -> None:
    files = {"/work/d/a.conf": b"port 2", "/work/d/b.conf": b"timeout 5\n", "/work/c": b"port 3\n"}
    assert load(b"port 1\ninclude d/*.conf\n", files=files).directives.port == 2
    assert load(b"include d/*.conf\nport 1\n", files=files).directives.timeout == 5
    assert load(b"include c\nport 1\n", files=files).directives.port == 1
    assert load(b"dir /work/d\ninclude ../c\n", files={"/work/d/../c": b"port 3\n"}).directives.port == 3
    assert load(b"include none*\n").directives == Directives(dir="/work")


def test_errors_in_an_included_file_name_its_own_line() -> None:
    for text in (b"\n\ninclude /x\n", b"include /y\n"):
        with pytest.raises(ConfigError) as caught:
            load(text, files={"/x": b"port 1\nnosuch\n", "/y": b"include /x"})
        assert (caught.value.line, caught.value.source) == (2, "nosuch")
    with pytest.raises(ConfigError) as caught:
        load(b"\n\ninclude /x\n", files={"/x": b"sentinel bogus\n"})
    assert (caught.value.line, caught.value.source) == (1, "sentinel bogus")


def test_a_file_that_includes_itself_is_an_error() -> None:
    with pytest.raises(ConfigError, match="too deeply"):
        load(b"include /x\n", files={"/x": b"include /x\n"})


# ---------------------------------------------------------------- command line and standard input


def test_options_come_last_and_win() -> None:
    words = ("--port", "5000", "--loglevel verbose", "--sentinel", "announce-ip", "1.2.3.4", "--requirepass", "a b")
    loaded = load(b"port 1\n", *words, "--sentinel", "--sentinel")
    assert (loaded.directives.port, loaded.directives.loglevel) == (5000, "verbose")
    assert loaded.directives.requirepass == "a b"
    assert loaded.snapshot.settings.announce_ip == "1.2.3.4"


@pytest.mark.parametrize(
    ("text", "stdin", "options", "line", "source"),
    [
        (b"a.b c\n", None, ("--port", "x"), 3, 'port "x"'),
        (b"a.b c\n", None, ("--timeout", "1", "--port", "x"), 4, 'port "x"'),
        (b"a.b c", None, ("--port", "x"), 2, 'port "x"'),
        (b"a.b c\n", b"a.b c\n", ("--port", "x"), 4, 'port "x"'),
        (b"a.b c\n", b"port x\n", ("-",), 2, "port x"),
        (b"a.b c\n", None, ("hello",), 3, '"hello"'),
        (b"", None, ("--port=5000",), 2, "port=5000"),
        (b"\n", None, ("--sentinel", "/x.conf"), 3, 'sentinel "/x.conf"'),
    ],
)
def test_line_numbers_go_on_through_standard_input_and_options(
    text: bytes, stdin: bytes | None, options: tuple[str, ...], line: int, source: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, *options, stdin=stdin)
    assert (caught.value.line, caught.value.source) == (line, source)


def test_what_the_file_took_over_from_the_command_line_may_be_repeated_there() -> None:
    state = M.replace(b"127.0.0.1", b"127.0.0.9") + b"sentinel rename-command m a b\nuser x on\n"
    words = ("--sentinel", "monitor", "m", "127.0.0.1", "6379", "2", "--sentinel", "rename-command", "m", "A", "b")
    loaded = load(state, *words, "--user", "x", "off")
    assert the_master(loaded).address == Address("127.0.0.9", 6379)
    assert loaded.directives.users == (("x", "on"),)
    with pytest.raises(ConfigError, match=r"Duplicate master name\."):
        load(b"", *words[:6], *words[:6])
