"""Clock, turbo, SMT and quota, as systems tell them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from harness.doctor import processor as told
from harness.doctor.processor import pace, processor, quota


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 3}, raising=False)
    monkeypatch.setattr(told, "quota", lambda: None)


def clocks(number: int, now: int, governor: str) -> dict[str, str]:
    folder = f"cpu{number}/cpufreq"
    return {
        f"{folder}/scaling_cur_freq": str(now),
        f"{folder}/cpuinfo_max_freq": "3600000",
        f"{folder}/scaling_governor": governor,
    }


@pytest.mark.usefixtures("allowed")
def test_only_the_cores_that_we_may_use_are_told(tmp_path: Path) -> None:
    write(tmp_path, {**clocks(0, 800000, "ondemand"), **clocks(1, 1200000, "powersave")})
    write(tmp_path, {**clocks(3, 3400000, "performance"), "smt/active": "1", "cpufreq/boost": "0"})
    assert processor(tmp_path) == {
        "governors": ["performance", "powersave"],
        "mhz_now": [1200, 3400],
        "mhz_max": 3600,
        "turbo": False,
        "smt": True,
    }


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("switch", "on"), [("0", True), ("1", False)])
def test_intel_says_that_turbo_is_off(switch: str, on: bool, tmp_path: Path) -> None:
    write(tmp_path, {"intel_pstate/no_turbo": switch, "smt/active": "0"})
    assert processor(tmp_path) == {"turbo": on, "smt": False}


@pytest.mark.usefixtures("allowed")
def test_a_system_that_tells_nothing_is_told_as_nothing(tmp_path: Path) -> None:
    assert processor(tmp_path) == {}


def test_the_quota_is_the_least_of_our_group_and_its_parents(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/a/b\n", encoding="utf-8")
    assert quota(tmp_path, own) is None
    write(tmp_path, {"a/b/cpu.max": "max 100000", "cpu.max": "400000 100000"})
    assert quota(tmp_path, own) == 4.0
    write(tmp_path, {"a/cpu.max": "150000 100000"})
    assert quota(tmp_path, own) == 1.5
    write(tmp_path, {"a/b/c/cpu.max": "10000 100000"})  # a child's is not ours
    assert quota(tmp_path, own) == 1.5
    assert quota(tmp_path, tmp_path / "none") is None


def test_the_quota_of_version_1(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/x\n3:cpu,cpuacct:/y\n1:name=systemd:/\n", encoding="utf-8")
    write(tmp_path, {"cpu,cpuacct/y/cpu.cfs_quota_us": "-1", "cpu,cpuacct/y/cpu.cfs_period_us": "100000"})
    assert quota(tmp_path, own) is None
    write(tmp_path, {"cpu/y/cpu.cfs_quota_us": "50000", "cpu/y/cpu.cfs_period_us": "100000"})
    assert quota(tmp_path, own) == 0.5


def test_the_pace_is_that_of_the_fastest_of_four_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    loops = count()

    def loop() -> int:
        # one of four is fast; the fast one of every tenth reading takes twice as long
        reading, turn = divmod(next(loops), 4)
        now[0] += (4_000_000 if reading % 10 == 9 else 2_000_000) if turn == 2 else 9_000_000
        return 0

    monkeypatch.setattr(told, "control_loop", loop)
    monkeypatch.setattr(told, "_PACE_S", 1.0)
    found = pace(lambda: now[0])
    assert found["control_s"] == pytest.approx(2e-3)
    assert found["slowest"] == pytest.approx(1.0)
    assert found["scatter"] == 0.0
