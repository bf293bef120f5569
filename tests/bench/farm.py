"""Many fake masters and replicas in one process: ``python -m tests.bench.farm PORT MASTERS REPLICAS``.

Master i is 127.1.x.y:PORT, its first replica 127.2.x.y:PORT, and so on. It prints ``ready``, then obeys lines on its
standard input: ``kill N`` closes the first N masters with all their connections, and answers ``killed N``.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import Final

import hiredis
from attrs import Factory, define

FILLER: Final = "".join(f"filler_{number}:{'x' * 16}\r\n" for number in range(100))
"""Makes INFO about as long as that of a real server."""
HELLO: Final = "__sentinel__:hello"


def host_of(group: int, number: int) -> str:
    """The address of a fake: `group` 1 for masters, 2 and more for replicas."""
    return f"127.{group}.{number // 200}.{number % 200 + 1}"


@define(eq=False)
class Fake:
    """One server."""

    host: str
    master: str | None
    listener: socket.socket
    replicas: dict[str, None] = Factory(dict)
    links: dict[int, Link] = Factory(dict)
    subscribers: dict[int, Link] = Factory(dict)


@define(eq=False)
class Link:
    """One connection to a fake."""

    sock: socket.socket
    fake: Fake
    reader: hiredis.Reader = Factory(hiredis.Reader)
    queued: list[list[bytes]] | None = None


class Farm:
    """All fakes, one epoll set."""

    def __init__(self, port: int, masters: int, replicas: int) -> None:
        self.port = port
        self.poll = select.epoll()
        self.fakes: dict[str, Fake] = {}
        self.listening: dict[int, Fake] = {}
        self.links: dict[int, Link] = {}
        for number in range(masters):
            master = self._add(host_of(1, number), None)
            for group in range(2, 2 + replicas):
                host = host_of(group, number)
                self._add(host, master.host)
                master.replicas[host] = None

    def _add(self, host: str, master: str | None) -> Fake:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, self.port))
        sock.listen(64)
        sock.setblocking(False)
        fake = self.fakes[host] = Fake(host, master, sock)
        self.listening[sock.fileno()] = fake
        self.poll.register(sock, select.EPOLLIN)
        return fake

    def run(self) -> None:
        """Serve until standard input ends."""
        self.poll.register(0, select.EPOLLIN)
        print("ready", flush=True)
        while True:
            for fd, _ in self.poll.poll():
                if fd == 0:
                    words = os.read(0, 100).split()
                    if not words:
                        return
                    self._kill(int(words[1]))
                    print("killed", int(words[1]), flush=True)
                elif fd in self.listening:
                    self._accept(self.listening[fd])
                elif fd in self.links:
                    self._serve(self.links[fd])

    def _kill(self, count: int) -> None:
        for fake in [fake for fake in self.fakes.values() if fake.host.startswith("127.1.")][:count]:
            del self.listening[fake.listener.fileno()]
            self.poll.unregister(fake.listener)
            fake.listener.close()
            for link in list(fake.links.values()):
                self._close(link)

    def _accept(self, fake: Fake) -> None:
        sock, _ = fake.listener.accept()
        sock.setblocking(False)
        self.links[sock.fileno()] = fake.links[sock.fileno()] = Link(sock, fake)
        self.poll.register(sock, select.EPOLLIN)

    def _close(self, link: Link) -> None:
        fd = link.sock.fileno()
        del self.links[fd], link.fake.links[fd]
        link.fake.subscribers.pop(fd, None)
        self.poll.unregister(link.sock)
        link.sock.close()

    def _serve(self, link: Link) -> None:
        try:
            data = link.sock.recv(65536)
            if not data:
                self._close(link)
                return
            link.reader.feed(data)
            replies = []
            while (words := link.reader.gets()) is not False:
                replies.append(self._answer(link, words))
            link.sock.send(b"".join(replies))
        except OSError:
            if link.sock.fileno() in self.links:
                self._close(link)

    def _answer(self, link: Link, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"EXEC" and link.queued is not None:
            queued, link.queued = link.queued, None
            return b"*%d\r\n" % len(queued) + b"".join(self._answer(link, one) for one in queued)
        if link.queued is not None:
            link.queued.append(words)
            return b"+QUEUED\r\n"
        match name:
            case b"PING":
                return b"+PONG\r\n"
            case b"INFO":
                text = self._info(link.fake).encode()
                return b"$%d\r\n%b\r\n" % (len(text), text)
            case b"PUBLISH":
                message = b"*3\r\n$7\r\nmessage\r\n$18\r\n"
                message += b"%b\r\n$%d\r\n%b\r\n" % (HELLO.encode(), len(words[2]), words[2])
                for subscriber in link.fake.subscribers.values():
                    subscriber.sock.send(message)
                return b":%d\r\n" % len(link.fake.subscribers)
            case b"SUBSCRIBE":
                link.fake.subscribers[link.sock.fileno()] = link
                return b"*3\r\n$9\r\nsubscribe\r\n$18\r\n" + HELLO.encode() + b"\r\n:1\r\n"
            case b"MULTI":
                link.queued = []
            case b"SLAVEOF" | b"REPLICAOF":
                self._follow(link.fake, None if words[1].upper() == b"NO" else words[1].decode())
        return b"+OK\r\n"

    def _follow(self, fake: Fake, master: str | None) -> None:
        if fake.master is not None:
            self.fakes[fake.master].replicas.pop(fake.host, None)
        fake.master = master
        if master is not None and master in self.fakes:
            self.fakes[master].replicas[fake.host] = None

    def _info(self, fake: Fake) -> str:
        run_id = fake.host.replace(".", "0").ljust(40, "a")
        lines = [f"# Server\r\nredis_version:7.0.15\r\nrun_id:{run_id}\r\n{FILLER}# Replication"]
        if fake.master is None:
            lines += ["role:master", f"connected_slaves:{len(fake.replicas)}"]
            for number, host in enumerate(fake.replicas):
                lines.append(f"slave{number}:ip={host},port={self.port},state=online,offset=100,lag=0")
        else:
            lines += ["role:slave", f"master_host:{fake.master}", f"master_port:{self.port}", "master_link_status:up"]
            lines += ["slave_repl_offset:100", "slave_priority:100", "slave_read_only:1", "replica_announced:1"]
        return "\r\n".join([*lines, "master_repl_offset:100", ""])


if __name__ == "__main__":
    Farm(*(int(word) for word in sys.argv[1:4])).run()
