"""TLS contexts from directives: what they allow, and stock's words for what cannot be used."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from trio_sentinel.adapters.tls import BAD_PROTOCOLS, FAILED, NO_AUTHORITY, TlsContexts, fingerprint, make_contexts
from trio_sentinel.errors import StartupError
from trio_sentinel.runtime.papers import RENEWED, Contexts, Papers
from trio_sentinel.wire.directives import Directives


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The directives of a complete configuration, on real files."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    for name in ("server", "client"):
        issued = authority.issue_cert(f"{name}.example")
        issued.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(directory / f"{name}.crt"))
    (directory / "rubbish").write_text("rubbish")
    return {
        "tls_cert_file": str(directory / "server.crt"),
        "tls_key_file": str(directory / "server.key"),
        "tls_ca_cert_file": str(directory / "ca.crt"),
    }


def configured(files: dict[str, str], **options: object) -> Directives:
    return Directives(**{"tls_port": 1, **files, **options})  # type: ignore[arg-type]


def refused(directives: Directives) -> tuple[str, ...]:
    with pytest.raises(StartupError) as caught:
        make_contexts(directives)
    return caught.value.lines


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let the two meet in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(down, up)
    other = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return other, one


def test_nothing_is_configured_unless_something_uses_it(files: dict[str, str]) -> None:
    assert make_contexts(Directives()) is None
    assert make_contexts(configured(files, tls_port=0)) is None
    assert make_contexts(configured(files, tls_port=0, tls_cluster=True)) is not None


def test_a_server_context_and_the_one_for_our_own_links(files: dict[str, str]) -> None:
    contexts = make_contexts(configured(files))
    assert contexts is not None
    assert contexts.client is None
    assert contexts.server.verify_mode is ssl.CERT_REQUIRED
    both = make_contexts(configured(files, tls_port=0, tls_replication=True))
    assert both is not None
    assert both.client is not None
    server_side, client_side = handshake(contexts.server, both.client)
    assert client_side.version() == "TLSv1.3"
    assert server_side.getpeercert()


def test_the_client_pair_counts_only_when_complete(files: dict[str, str]) -> None:
    directory = Path(files["tls_cert_file"]).parent
    pair = {"tls_client_cert_file": str(directory / "client.crt"), "tls_client_key_file": str(directory / "client.key")}
    shown = []
    for options in (pair, {"tls_client_cert_file": pair["tls_client_cert_file"]}):
        contexts = make_contexts(configured(files, tls_replication=True, **options))
        assert contexts is not None
        assert contexts.client is not None
        server_side, _ = handshake(contexts.server, contexts.client)
        certificate = server_side.getpeercert()
        assert certificate is not None
        shown.append(certificate["subjectAltName"])
    assert shown == [(("DNS", "client.example"),), (("DNS", "server.example"),)]


@pytest.mark.parametrize(
    ("word", "mode"), [("yes", ssl.CERT_REQUIRED), ("optional", ssl.CERT_OPTIONAL), ("no", ssl.CERT_NONE)]
)
def test_who_must_show_a_certificate(files: dict[str, str], word: str, mode: ssl.VerifyMode) -> None:
    contexts = make_contexts(configured(files, tls_auth_clients=word))
    assert contexts is not None
    assert contexts.server.verify_mode is mode


def test_versions(files: dict[str, str]) -> None:
    contexts = make_contexts(configured(files, tls_protocols="TLSv1.2", tls_replication=True))
    assert contexts is not None
    assert contexts.client is not None
    _, client_side = handshake(contexts.server, contexts.client)
    assert client_side.version() == "TLSv1.2"
    gap = make_contexts(configured(files, tls_protocols="tlsv1.1 TLSv1.3"))
    assert gap is not None
    assert gap.server.options & ssl.OP_NO_TLSv1_2
    assert refused(configured(files, tls_protocols="TLSv1.2 TLSv9")) == (BAD_PROTOCOLS, FAILED)


def test_ciphers(files: dict[str, str]) -> None:
    name = "ECDHE-RSA-AES256-GCM-SHA384"
    contexts = make_contexts(configured(files, tls_ciphers=name, tls_prefer_server_ciphers=True))
    assert contexts is not None
    chosen = [cipher["name"] for cipher in contexts.server.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert chosen == [name]
    assert contexts.server.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert refused(configured(files, tls_ciphers="NOSUCH")) == ("Failed to configure ciphers: NOSUCH", FAILED)


def test_what_this_python_cannot_do_is_said(files: dict[str, str]) -> None:
    contexts = make_contexts(configured(files, tls_ciphersuites="TLS_AES_128_GCM_SHA256"))
    assert contexts is not None
    assert bool(contexts.warnings) is not hasattr(ssl.SSLContext, "set_ciphersuites")


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"tls_cert_file": ""}, "No tls-cert-file configured!"),
        ({"tls_key_file": ""}, "No tls-key-file configured!"),
        ({"tls_ca_cert_file": ""}, NO_AUTHORITY),
        ({"tls_ca_cert_file": "", "tls_auth_clients": "no", "tls_replication": True}, NO_AUTHORITY),
        (
            {"tls_cert_file": "/nonexistent"},
            "Failed to load certificate: /nonexistent: No such file or directory",
        ),
        (
            {"tls_key_file": "/nonexistent"},
            "Failed to load private key: /nonexistent: No such file or directory",
        ),
        (
            {"tls_ca_cert_file": "/nonexistent"},
            "Failed to configure CA certificate(s) file/directory: No such file or directory",
        ),
        (
            {"tls_dh_params_file": "/nonexistent"},
            "Failed to load DH params file: /nonexistent: No such file or directory",
        ),
    ],
)
def test_refusals(files: dict[str, str], options: dict[str, object], first: str) -> None:
    assert refused(configured(files, **options)) == (first, FAILED)


def test_rubbish_is_blamed_on_the_right_file(files: dict[str, str]) -> None:
    rubbish = str(Path(files["tls_cert_file"]).parent / "rubbish")
    assert refused(configured(files, tls_cert_file=rubbish))[0].startswith(f"Failed to load certificate: {rubbish}: ")
    assert refused(configured(files, tls_key_file=rubbish))[0].startswith(f"Failed to load private key: {rubbish}: ")
    other = str(Path(files["tls_cert_file"]).parent / "client.key")
    assert (
        refused(configured(files, tls_key_file=other))[0] == f"Failed to load private key: {other}: key values mismatch"
    )
    assert refused(configured(files, tls_ca_cert_file=rubbish))[0].startswith("Failed to configure CA")


def test_no_authority_is_needed_when_nobody_is_verified(files: dict[str, str]) -> None:
    assert make_contexts(configured(files, tls_ca_cert_file="", tls_auth_clients="no")) is not None


def test_without_session_caching_no_ticket_is_given(files: dict[str, str]) -> None:
    contexts = make_contexts(configured(files, tls_session_caching=False))
    assert contexts is not None
    assert contexts.server.num_tickets == 0


async def test_certificates_can_be_renewed(files: dict[str, str], tmp_path: Path) -> None:
    certificate, key = tmp_path / "c", tmp_path / "k"
    shutil.copy(files["tls_cert_file"], certificate)
    shutil.copy(files["tls_key_file"], key)
    directives = configured(files, tls_cert_file=str(certificate), tls_key_file=str(key), tls_replication=True)
    used: list[Contexts] = []
    lines: list[str] = []

    def load() -> TlsContexts:
        contexts = make_contexts(directives)
        assert contexts is not None
        return contexts

    papers = Papers(
        load=load,
        fingerprint=lambda: fingerprint(directives),
        use=used.append,
        log=lambda level, line: lines.append(line),
    )
    before = fingerprint(directives)
    directory = Path(files["tls_cert_file"]).parent
    shutil.copy(directory / "client.crt", certificate)
    assert fingerprint(directives) != before
    assert not await papers.renew(), "half written: the key is still the old one"
    assert not used
    assert lines == [f"TLS certificates stay as they were: Failed to load private key: {key}: key values mismatch"]
    shutil.copy(directory / "client.key", key)
    assert await papers.renew()
    (contexts,) = used
    assert contexts.client is not None
    server_side, client_side = handshake(contexts.server, contexts.client)
    shown = client_side.getpeercert()
    assert shown is not None
    assert shown["subjectAltName"] == (("DNS", "client.example"),)
    assert server_side.getpeercert()
    assert lines[1:] == [RENEWED]


async def test_a_changed_file_is_noticed(autojump_clock: trio.testing.MockClock) -> None:
    state, loads = [1], [0]

    def load() -> Contexts:
        loads[0] += 1
        raise StartupError("not yet", FAILED)

    papers = Papers(load=load, fingerprint=lambda: state[0], use=print, log=lambda level, line: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(papers.watch, 10)
        await trio.sleep(35)
        assert loads == [0]
        state[0] = 2
        with trio.move_on_after(11):
            while loads == [0]:
                await trio.sleep(1)
        await trio.sleep(40)
        nursery.cancel_scope.cancel()
    assert loads == [1], "once for each change, whether or not the files could be used"
