"""The child's end of the pipe: kernels may print and read, and nobody outlives the parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import os, sys, time
from harness.channel import Channel
channel = Channel()
channel.reply({"pid": os.getpid()})
while True:
    request = channel.next_request()
    if request["do"] == "print":
        print("noise on stdout", flush=True)
        os.system("echo noise of a grandchild")
        sys.stderr.write("noise on stderr\\n")
    elif request["do"] == "read":
        request["read"] = sys.stdin.read()
    elif request["do"] == "sleep":
        time.sleep(60)
    channel.reply(request)
"""


def start(log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file
        )


def ask(child: subprocess.Popen[bytes], message: dict[str, object]) -> dict[str, object]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(message).encode() + b"\n")
    child.stdin.flush()
    reply: dict[str, object] = json.loads(child.stdout.readline())
    return reply


def test_noise_does_not_reach_the_protocol(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = start(log)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["pid"] == child.pid
    assert ask(child, {"do": "print"}) == {"do": "print"}
    assert ask(child, {"do": "read"}) == {"do": "read", "read": ""}
    child.communicate()
    assert log.read_text().splitlines() == ["noise on stdout", "noise of a grandchild", "noise on stderr"]


def test_a_reply_may_hold_an_unpaired_surrogate(tmp_path: Path) -> None:
    child = start(tmp_path / "log")
    assert child.stdout is not None
    child.stdout.readline()
    request = {"do": "echo", "error": "no file \udc80"}  # what os.fsdecode makes of a name that is not UTF-8
    assert ask(child, request) == request
    child.communicate()


def test_a_busy_child_ends_with_its_pipe(tmp_path: Path) -> None:
    child = start(tmp_path / "log")
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    child.stdin.write(b'{"do":"sleep"}\n')
    child.stdin.flush()
    time.sleep(0.2)
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(timeout=20) == 0
    child.stdout.close()


def test_a_child_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
child.stdin.write(b'{{"do":"sleep"}}\\n'); child.stdin.flush()
time.sleep(60)
"""
    running = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert running.stdout is not None
    pid = json.loads(running.stdout.readline())["pid"]
    running.kill()
    running.communicate()
    for _ in range(200):
        if not _alive(pid):
            break
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
