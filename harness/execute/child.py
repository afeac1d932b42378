"""One child process: its pipes, its log, how much memory it has, how it ended.

The child leads a session of its own, so that it and whatever it started are killed together. Nothing
here waits for an answer: the pipes do not block, and the loop watches them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.protocol import decode, encode

LONGEST_LINE: Final = 64 << 20
"""Bytes of one reply; what is longer is no reply."""

LOG_LIMIT_BYTES: Final = 256 << 20
"""What one child may print before it is taken for one that would fill the disk."""

_KEPT_OF_A_FLOOD: Final = 1 << 20
_READ_AT_ONCE: Final = 4 << 20
_PATIENCE_AFTER_KILL_S: Final = 10.0
_HAS_PROC: Final = Path("/proc/self/statm").exists()


class MalformedReplyError(Exception):
    """A child said something that is no reply to what it was asked."""


class Child:
    """A running process that answers JSON lines with JSON lines.

    Parameters
    ----------
    name
        What messages call it: `numpy-1`, `referee-2`.
    command, environment
        What is started, and all of its variables.
    log
        Where its standard error is appended.

    Raises
    ------
    OSError
        The program cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.noise = 0
        self.ended = False
        self.returncode: int | None = None
        self.peak_bytes = 0
        self._outbox = bytearray()
        self._inbox = bytearray()
        self._log_file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._log_start = os.fstat(self._log_file).st_size
        its_requests, self.requests = os.pipe()
        self.replies, its_replies = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=its_requests,
                stdout=its_replies,
                stderr=self._log_file,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            for file in (self.requests, self.replies, self._log_file):
                os.close(file)
            raise
        finally:
            os.close(its_requests)
            os.close(its_replies)
        self.pid = self._process.pid
        os.set_blocking(self.requests, False)
        os.set_blocking(self.replies, False)
        self.exit: int | None = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None
        self._forbid_core_dump()

    def _forbid_core_dump(self) -> None:
        """A crash is an outcome; gigabytes of core files would be the user's problem."""
        if sys.platform == "linux":
            import resource

            with contextlib.suppress(OSError, ValueError):
                resource.prlimit(self.pid, resource.RLIMIT_CORE, (0, 0))

    # ---- talking -----------------------------------------------------------------------------------

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue one request and write what the pipe takes now."""
        self._outbox += encode(message).encode("utf-8", "backslashreplace") + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes; a child that is gone is noticed by its end."""
        try:
            while self._outbox:
                del self._outbox[: os.write(self.requests, self._outbox)]
        except BlockingIOError:
            return
        except OSError:
            self._outbox.clear()

    @property
    def unsent(self) -> bool:
        """Whether requests wait for room in the pipe."""
        return bool(self._outbox)

    def receive(self) -> list[dict[str, Any]]:
        """Return the replies that have arrived; `ended` is set once the pipe is closed.

        Lines that are no JSON objects (a library that prints while it is imported) go to the log.

        Raises
        ------
        MalformedReplyError
            A line that starts as an object and is none, or is longer than any reply.
        """
        taken = 0
        while taken < _READ_AT_ONCE:
            try:
                data = os.read(self.replies, 1 << 18)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            taken += len(data)
            self._inbox += data
        if b"\n" not in self._inbox:
            if len(self._inbox) > LONGEST_LINE:
                raise MalformedReplyError(f"a line of more than {LONGEST_LINE >> 20} MiB")
            return []
        *lines, rest = bytes(self._inbox).split(b"\n")
        self._inbox = bytearray(rest)
        return [message for line in lines if (message := self._message(line)) is not None]

    def _message(self, line: bytes) -> dict[str, Any] | None:
        if not line.lstrip().startswith(b"{"):
            if line.strip():
                self.noise += 1
                with contextlib.suppress(OSError):
                    os.write(self._log_file, b"[printed among the replies] " + line[:2000] + b"\n")
            return None
        try:
            message = decode(line)
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            shown = line[:80].decode("utf-8", "replace")
            raise MalformedReplyError(f"{shown!r} ({type(error).__name__})") from None
        if not isinstance(message, dict):
            raise MalformedReplyError(f"{line[:80].decode('utf-8', 'replace')!r} is no message")
        return message

    # ---- watching ----------------------------------------------------------------------------------

    def resident_bytes(self) -> int:
        """Return the memory that the process holds now; 0 once it is gone."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:  # noqa: PTH123 — four times a second
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            if _HAS_PROC:
                return 0
        import psutil

        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def logged_bytes(self) -> int:
        """Return how much it has written to its log since it started."""
        return os.fstat(self._log_file).st_size - self._log_start

    def last_words(self, lines: int = 3) -> str:
        """Return the last lines of its log, on one line."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - 4096))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])

    # ---- ending ------------------------------------------------------------------------------------

    def finish(self, patience_s: float) -> None:
        """Close its requests, on which it ends by itself, and kill it if it does not."""
        self._close_requests()
        self._wait(patience_s)
        self.kill()

    def await_exit(self, patience_s: float) -> bool:
        """Return whether it ends within `patience_s`; its pipe closes a little before it is seen dead."""
        return self._wait(patience_s)

    def kill(self) -> None:
        """Kill it and all that it started, and take note of how it ended. Does nothing a second time."""
        if self.returncode is not None:
            return
        # Before it is reaped its id, and so that of its group, belongs to nobody else.
        gone = self._wait(0)
        self._kill_group()
        if not gone and not self._wait(_PATIENCE_AFTER_KILL_S):
            self.returncode = -signal.SIGKILL  # stuck in the kernel: left to init
        else:
            self._reap()
        self._process.returncode = self.returncode
        if self.logged_bytes() > LOG_LIMIT_BYTES:
            os.ftruncate(self._log_file, self._log_start + _KEPT_OF_A_FLOOD)
        self._close()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _wait(self, patience_s: float) -> bool:
        """Wait until the process has ended, without reaping it."""
        if self.returncode is not None:
            return True
        if self.exit is not None:
            poll = select.poll()
            poll.register(self.exit, select.POLLIN)
            return bool(poll.poll(patience_s * 1000))
        deadline = time.monotonic() + patience_s
        while True:
            try:
                found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return True
            if found is not None or time.monotonic() >= deadline:
                return found is not None
            time.sleep(0.005)

    def _reap(self) -> None:
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:  # somebody else waited for all children
            self.returncode = -signal.SIGKILL
            return
        self.returncode = os.waitstatus_to_exitcode(status)
        self.peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _close_requests(self) -> None:
        if self.requests >= 0:
            os.close(self.requests)
            self.requests = -1

    def _close(self) -> None:
        self._close_requests()
        os.close(self.replies)
        os.close(self._log_file)
        if self.exit is not None:
            os.close(self.exit)

    def exit_in_words(self) -> str:
        """Return how it ended: `exit code 3`, `killed by SIGSEGV`."""
        if self.returncode is None:
            return "still running"
        if self.returncode >= 0:
            return f"exit code {self.returncode}"
        try:
            return f"killed by {signal.Signals(-self.returncode).name}"
        except ValueError:
            return f"killed by signal {-self.returncode}"
