"""ACL users of a real deployment: in sentinel.conf and in an ACL file, handed from one program to the other."""

from __future__ import annotations

import pytest
import redis
import trustme

from .harness import Kind, Lab, Watch
from .harness_processes import LOOPBACK

pytestmark = pytest.mark.real

LINES = (
    'user bob on ">p w" +@all -shutdown &*',
    "user app on nopass -@all +ping +client +auth +sentinel|get-master-addr-by-name (+subscribe &+switch-master)",
)
NOBODY = 9  # a port where nobody listens


def test_users_go_over_and_come_back_in_sentinel_conf(lab: Lab) -> None:
    """Rules given at run time are in the file after a flush, and both programs read them alike."""
    sentinel = lab.sentinel(Kind.OURS, Watch(NOBODY), lines=LINES)
    assert sentinel.ask("ACL", "SETUSER", "carl", "on", ">x", "+ping|Hi", "&a", "&b", "(+info", "~k)") == "OK"
    assert sentinel.ask("SENTINEL", "FLUSHCONFIG") == "OK"
    users = sentinel.ask("ACL", "LIST")
    assert [line.split()[1] for line in users] == ["app", "bob", "carl", "default"]
    assert "p w" not in sentinel.conf()
    for kind in (Kind.VALKEY, Kind.OURS):
        sentinel.terminate()
        sentinel.become(kind)
        lab.start(sentinel)
        assert sentinel.ask("ACL", "LIST") == users, kind
        assert sentinel.ask("SENTINEL", "FLUSHCONFIG") == "OK"
    client = redis.Redis(host=LOOPBACK, port=sentinel.port, username="bob", password="p w", protocol=3)
    with client:
        assert client.execute_command("ACL", "WHOAMI") == b"bob"
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("SHUTDOWN")


def test_an_acl_file_is_saved_and_loaded(lab: Lab) -> None:
    directory = lab.directory
    path = directory / "users.acl"
    path.write_text("user bob on >pw +@all &*\n")
    sentinel = lab.sentinel(Kind.OURS, Watch(NOBODY), lines=[f"aclfile {path}"])
    assert "user" not in [line.split()[0] for line in sentinel.conf().splitlines() if line]
    client = redis.Redis(host=LOOPBACK, port=sentinel.port, username="bob", password="pw")
    with client:
        assert client.ping()
        assert sentinel.ask("ACL", "SETUSER", "carl", "on", "+ping") == "OK"
        assert sentinel.ask("ACL", "SAVE") == "OK"
        assert path.read_text().splitlines() == sentinel.ask("ACL", "LIST")
        path.write_text("user bob on >new +@all &*\n")
        assert sentinel.ask("ACL", "LOAD") == "OK"
        assert client.ping()
    sentinel.terminate()
    sentinel.become(Kind.VALKEY)
    lab.start(sentinel)
    assert [line.split()[1] for line in sentinel.ask("ACL", "LIST")] == ["bob", "default"]
    path.write_text("user bob on +get\n")
    assert sentinel.ask_error("ACL", "LOAD").startswith(f"{path}:1: Error in applying operation '+get'")
    sentinel.terminate()
    sentinel.become(Kind.OURS)
    sentinel.spawn()
    assert sentinel.wait_exit() == 1
    assert f"because of ACL errors: {path}:1: Error in applying operation '+get'" in sentinel.log()


def test_a_default_user_that_is_off_is_asked_for_a_name(lab: Lab) -> None:
    sentinel = lab.sentinel(Kind.OURS, Watch(NOBODY), lines=["user default off", LINES[0]], start=False)
    sentinel.spawn()
    client = redis.Redis(host=LOOPBACK, port=sentinel.port, username="bob", password="p w")

    def answers() -> bool:
        return bool(client.ping())

    with client:
        lab.wait_until(answers, "bob is let in")
    with redis.Redis(host=LOOPBACK, port=sentinel.port) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()


def test_a_certificate_logs_its_user_in(lab: Lab) -> None:
    """`tls-auth-clients-user CN`: who shows the certificate of a user is that user, and nobody else."""
    authority = trustme.CA()
    paths = {name: str(lab.directory / f"{name}.pem") for name in ("ca", "server", "bob", "nobody")}
    authority.cert_pem.write_to_path(paths["ca"])
    for name in ("server", "bob", "nobody"):
        authority.issue_cert(LOOPBACK, common_name=name).private_key_and_cert_chain_pem.write_to_path(paths[name])
    port = lab.ports.claim()
    lines = [
        f"tls-port {port}",
        f"tls-cert-file {paths['server']}",
        f"tls-key-file {paths['server']}",
        f"tls-ca-cert-file {paths['ca']}",
        "tls-auth-clients-user CN",
        "user bob on -@all +ping +acl|whoami",
    ]
    sentinel = lab.sentinel(Kind.OURS, Watch(NOBODY), lines=lines)
    for name, user in (("bob", b"bob"), ("nobody", b"default")):
        client = redis.Redis(
            host=LOOPBACK,
            port=port,
            protocol=2,
            ssl=True,
            ssl_ca_certs=paths["ca"],
            ssl_certfile=paths[name],
            ssl_keyfile=paths[name],
        )
        with client:
            assert client.execute_command("ACL", "WHOAMI") == user
    assert sentinel.client.info("stats")["acl_access_denied_tls_cert"] == 1


PEERS = (
    "user default on nopass &* +@all -publish -sentinel|is-master-down-by-addr",
    "user peer on >secret -@all +auth +client|setname +ping +publish +sentinel|is-master-down-by-addr &*",
    "sentinel sentinel-user peer",
    "sentinel sentinel-pass secret",
)
"""What peers ask of each other needs a user of its own."""


def test_sentinels_that_know_each_other_by_user_and_password_fail_over(lab: Lab) -> None:
    """In one quorum with Valkey: hellos and votes are refused to strangers, and peers log in."""
    servers = lab.trio_of_servers()
    kinds = (Kind.OURS, Kind.VALKEY, Kind.OURS)
    sentinels = [lab.sentinel(kind, Watch(servers[0].port), lines=PEERS, start=False) for kind in kinds]
    lab.start(*sentinels)
    lab.wait_acquainted(sentinels, replicas=2)
    for one in sentinels:
        refusal = one.ask_error("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", LOOPBACK, 1, 0, "*")
        assert refusal.startswith("User default has no permissions")
        assert "user=peer" in one.ask("CLIENT", "LIST")
    old, _ = lab.wait_agreement(sentinels, servers)
    old.kill()
    new, _ = lab.wait_agreement(sentinels, servers)
    assert new is not old
