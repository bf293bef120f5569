"""The client port: throughput, storms, fan-out, memory and start-up. One master that exists, no peers."""

from __future__ import annotations

import resource
import select
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .rig import LOOPBACK, MASTER, Conn, Side, connect_when_up, cpu_s, packed, rss_kib, stage

Sample = dict[str, float]
QUERY = packed("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
CLIENTS = 2000


@contextmanager
def alone(side: Side) -> Iterator[tuple[int, int]]:
    """A sentinel with one master: its port and pid."""
    with stage() as here:
        data, port = here.ports.claim(), here.ports.claim()
        here.server(data)
        connect_when_up(data).close()
        child = here.sentinel(side, port, [f"sentinel monitor {MASTER} {LOOPBACK} {data} 1"])
        connect_when_up(port).close()
        time.sleep(1.5)
        yield port, child.pid


def startup(side: Side, number: int) -> Sample:
    """From exec to the first PONG."""
    with stage() as here:
        data, port = here.ports.claim(), here.ports.claim()
        here.server(data)
        connect_when_up(data).close()
        began = time.monotonic()
        child = here.sentinel(side, port, [f"sentinel monitor {MASTER} {LOOPBACK} {data} 1"])
        conn: Conn | None = None
        while conn is None:
            try:
                conn = Conn(port)
            except OSError:
                time.sleep(0.001)
        connected = time.monotonic()
        conn.ask("PING")
        answered = time.monotonic()
        time.sleep(1.0)
        return {
            "connected": 1000 * (connected - began),
            "first PONG": 1000 * (answered - began),
            "RSS, MiB": rss_kib(child.pid) / 1024,
            "CPU of the first second": 1000 * cpu_s(child.pid),
        }


# ---------------------------------------------------------------- throughput


def throughput(side: Side, number: int) -> Sample:
    """GET-MASTER-ADDR-BY-NAME, 50 connections, with and without pipelining."""
    found: Sample = {}
    with alone(side) as (port, pid):
        for pipeline, requests in ((1, 60_000), (16, 480_000)):
            before = cpu_s(pid)
            rate = _hammer(port, pipeline, requests)
            found[f"P={pipeline}, 1/s"] = rate
            found[f"P={pipeline}, CPU s per 100k"] = (cpu_s(pid) - before) / requests * 100_000
    return found


def _hammer(port: int, pipeline: int, requests: int) -> float:
    """Requests a second; by redis-benchmark where it is installed, else by our own client."""
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    began = time.monotonic()
    if program is None:
        _own_hammer(port, pipeline, requests)
    else:
        words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]
        options = ["-p", str(port), "-c", "50", "-P", str(pipeline), "-n", str(requests), "-q"]
        subprocess.run([program, *options, *words], check=True, capture_output=True, timeout=120)
    return requests / (time.monotonic() - began)


def _own_hammer(port: int, pipeline: int, requests: int) -> None:
    chunk, reply = QUERY * pipeline, 0
    with select.epoll() as poll:
        socks = {}
        for _ in range(50):
            conn = Conn(port)
            if not reply:
                conn.sock.sendall(QUERY)
                reply = len(conn.sock.recv(4096))
            socks[conn.sock.fileno()] = conn.sock
            poll.register(conn.sock, select.EPOLLIN)
            conn.sock.sendall(chunk)
        owed = dict.fromkeys(socks, reply * pipeline)
        done = 0
        while done < requests:
            for fd, _ in poll.poll():
                owed[fd] -= len(socks[fd].recv(65536))
                if owed[fd] == 0:
                    done += pipeline
                    owed[fd] = reply * pipeline
                    socks[fd].sendall(chunk)
        for sock in socks.values():
            sock.close()


# ---------------------------------------------------------------- crowds


def storm(side: Side, number: int) -> Sample:
    """2,000 at once."""
    return _storm(side, CLIENTS)


def great_storm(side: Side, number: int) -> Sample:
    """10,000 at once."""
    return _storm(side, 5 * CLIENTS)


def _storm(side: Side, count: int) -> Sample:
    """Connections that all come at once, ask one question each and leave."""
    _allow_descriptors(count)
    with alone(side) as (port, pid):
        before, began = cpu_s(pid), time.monotonic()
        with select.epoll() as poll:
            socks = {}
            for _ in range(count):
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                sock.connect_ex((LOOPBACK, port))
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLOUT)
            errors = 0
            while socks and time.monotonic() < began + 30:
                for fd, event in poll.poll(1.0):
                    sock = socks[fd]
                    try:
                        if event & select.EPOLLOUT:
                            sock.send(QUERY)
                            poll.modify(fd, select.EPOLLIN)
                            continue
                        errors += not sock.recv(4096)
                    except OSError:
                        errors += 1
                    poll.unregister(fd)
                    sock.close()
                    del socks[fd]
        all_served = time.monotonic() - began
        time.sleep(0.2)
        return {
            f"{count:,} served": 1000 * all_served,
            "CPU per 1,000": 1000 * (cpu_s(pid) - before) / count * 1000,
            "errors": float(errors + len(socks)),
        }


def fan_out(side: Side, number: int) -> Sample:
    """2,000 subscribers."""
    return _fan_out(side, CLIENTS)


def great_fan_out(side: Side, number: int) -> Sample:
    """5,000 subscribers."""
    return _fan_out(side, 5 * CLIENTS // 2)


def _fan_out(side: Side, count: int) -> Sample:
    """News for many subscribers: SENTINEL SET announces itself as +set."""
    _allow_descriptors(count)
    with alone(side) as (port, pid):
        base = rss_kib(pid)
        crowd = [Conn(port) for _ in range(count)]
        for conn in crowd:
            conn.ask("PING")
        idle = rss_kib(pid)
        for conn in crowd:
            conn.ask("SUBSCRIBE", "+set")
        asker = Conn(port)
        firsts, lasts, missed = [], [], 0
        with select.epoll() as poll:
            by_fd = {conn.sock.fileno(): conn.sock for conn in crowd}
            for fd in by_fd:
                poll.register(fd, select.EPOLLIN)
            before = cpu_s(pid)
            for value in range(1, 11):
                waiting, began = set(by_fd), time.monotonic()
                asker.send("SENTINEL", "SET", MASTER, "parallel-syncs", value)
                times = []
                while waiting and time.monotonic() < began + 5:
                    for fd, _ in poll.poll(0.5, 4096):
                        by_fd[fd].recv(4096)
                        times.append(time.monotonic() - began)
                        waiting.discard(fd)
                asker.read()
                missed += len(waiting)
                firsts.append(times[0])
                lasts.append(times[-1])
            cpu = (cpu_s(pid) - before) / 10
        for conn in crowd:
            conn.close()
        return {
            f"first of {count:,}": 1000 * statistics.median(firsts),
            f"last of {count:,}": 1000 * statistics.median(lasts),
            "CPU per event": 1000 * cpu,
            "missed": float(missed),
            "idle client, KiB": (idle - base) / count,
        }


def _allow_descriptors(count: int) -> None:
    """So many connections, and those of everybody else; the processes started inherit it. Raises ValueError or OSError
    where the system allows fewer."""
    wanted = count + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
