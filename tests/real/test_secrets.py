"""Passwords go in by every door there is; then everything that can be read is searched for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .harness import MASTER, Kind, Lab, Watch
from .harness_processes import EXIT_SECONDS, NO_ANSWER, open_client
from .harness_sentinels import REPOSITORY, pairs

pytestmark = pytest.mark.real

CONF, TYPED, PEERS, MASTERS, WRONG, LATER = (
    f"geheim-{word}-4711" for word in ("conf", "typed", "peers", "masters", "wrong", "later")
)
SECRETS = (CONF, TYPED, PEERS, MASTERS, WRONG, LATER)


@pytest.mark.ours_only
def test_no_password_can_be_read_anywhere(lab: Lab) -> None:
    server = lab.server()
    server.ask("CONFIG", "SET", "requirepass", MASTERS)
    server.client = open_client(server.port, password=MASTERS)
    lines = [f"requirepass {CONF}", f"sentinel sentinel-pass {PEERS}", "loglevel debug"]
    sentinel = lab.sentinel(Kind.OURS, Watch(server.port, quorum=1), lines=lines, start=False)
    sentinel.spawn()
    client = open_client(sentinel.port, password=CONF)
    lab.wait_until(lambda: client.execute_command("PING"), "it answers")
    listener = client.pubsub()
    listener.psubscribe("*")
    told: list[str] = []

    def ask(*words: str) -> None:
        try:
            told.append(repr(client.execute_command(*words)))
        except NO_ANSWER as error:
            told.append(repr(error))

    for user in ("default", "nobody"):
        for word in (WRONG, MASTERS):
            stranger = open_client(sentinel.port)
            with pytest.raises(NO_ANSWER):
                stranger.execute_command("AUTH", user, word)
            with pytest.raises(NO_ANSWER):
                stranger.execute_command("HELLO", "3", "AUTH", user, word)
            stranger.close()
    ask("SENTINEL", "SET", MASTER, "auth-pass", MASTERS)

    def flags() -> str:
        return pairs(client.execute_command("SENTINEL", "MASTER", MASTER))["flags"]

    lab.wait_until(lambda: flags() == "master", "the password opens the master")
    ask("SENTINEL", "SET", MASTER, "auth-pass", TYPED, "quorum", "nonsense")
    ask("SENTINEL", "CONFIG", "SET", "sentinel-pass", LATER, "sentinel-user", "somebody")
    ask("SENTINEL", "CONFIG", "SET", "sentinel-pass", TYPED, "announce-port", "nonsense")
    ask("SENTINEL", "CONFIG", "GET", "*")
    for about in ("MASTERS", "HELP", "PENDING-SCRIPTS", "DEBUG", "MYID"):
        ask("SENTINEL", about)
    for about in ("MASTER", "REPLICAS", "SENTINELS", "CKQUORUM", "INFO-CACHE", "GET-MASTER-ADDR-BY-NAME", "FAILOVER"):
        ask("SENTINEL", about, MASTER)
    for words in (("INFO", "everything"), ("CLIENT", "LIST"), ("CLIENT", "INFO"), ("ACL", "LIST"), ("ACL", "LOG"),
                  ("ACL", "GETUSER", "default"), ("ROLE",)):  # fmt: skip
        ask(*words)
    ask("SENTINEL", "FLUSHCONFIG")
    while (message := listener.get_message(timeout=0.5)) is not None:
        told.append(repr(message))
    assert any("+set" in words and "******" in words for words in told), "the change was announced"
    listener.close()
    client.close()
    assert sentinel.terminate() == 0
    check = subprocess.run(
        [sys.executable, "-m", "trio_sentinel", "check", str(sentinel.conf_path)],
        capture_output=True, text=True, timeout=EXIT_SECONDS, cwd=REPOSITORY, check=True,
    )  # fmt: skip
    read = {
        "the log": sentinel.log(),
        "what it printed": sentinel.output(),
        "what check prints": check.stdout + check.stderr,
        "replies and events": "\n".join(told),
    }
    assert TYPED in sentinel.conf(), "the file must hold it, and only the file"
    for where, text in read.items():
        assert not [secret for secret in SECRETS if secret in text], where
