"""Everything this project does to itself: `nox -s bench tests lint types gate compare docs selfbench`.

Every session installs against constraints.txt; an environment once made is used again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
# pip resolves torch as this machine's configuration says (a CPU build, a local wheel); uv would not
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
CONSTRAINTS = str(ROOT / "constraints.txt")
SOURCE = ("harness", "tests", "benchmarks", "docs", "noxfile.py")
BASELINE = "reports/baseline"
MAIN = "origin/main"


def install(session: nox.Session, *packages: str) -> None:
    """Install `packages` at the versions that constraints.txt pins, build requirements included."""
    session.install("--quiet", "--constraint", CONSTRAINTS, *packages, env={"PIP_CONSTRAINT": CONSTRAINTS})


def install_to_run(session: nox.Session, extras: str = "torch") -> None:
    """Install the harness with every backend, and what its tests need."""
    install(
        session, "-e", f".[{extras}]", "pytest", "pytest-timeout", "pytest-xdist", "pytest-benchmark",
        "hypothesis", "mpmath",
    )  # fmt: skip


def install_to_read(session: nox.Session) -> None:
    """Install what linting, typing and the documentation need; PyTorch is not among it."""
    install(
        session, "-e", ".", "ruff", "import-linter", "mypy", "nox", "pandas-stubs", "scipy-stubs",
        "types-PyYAML", "types-psutil", "sphinx", "myst-parser", "furo",
    )  # fmt: skip


@nox.session
def bench(session: nox.Session) -> None:
    """Run all cases, judge them, report: reports/latest/report.html. `-- --quick` for the short profile."""
    install_to_run(session)
    session.run("harness", "run", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Test the harness. Arguments after `--` go to pytest."""
    install_to_run(session, "torch,parquet")
    session.run("pytest", "-n", "2", "--dist", "loadgroup", *session.posargs, env={"COLUMNS": "120"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and that upper floors import lower ones only. `-- --fix` mends what can be mended."""
    install_to_read(session)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check", "--diff"]), *SOURCE)
    session.run("ruff", "check", *session.posargs, *SOURCE)
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install_to_read(session)
    session.run("mypy", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """Run and compare with the accepted baseline. Arguments after `--` go to `harness run`.

    reports/latest/summary.md has the verdict, worst first. Any failing exit code of the command becomes 1.
    """
    install_to_run(session)
    session.run("harness", "run", "--baseline", BASELINE, *session.posargs)


@nox.session
def compare(session: nox.Session) -> None:
    """Compare this tree with where it left origin/main. Arguments after `--` go to `harness compare`.

    `-- --base REVISION` compares with another. Any failing exit code of the command becomes 1; a caller that
    has to tell 1 from 3 makes the environment by `--install-only`, and runs .nox/compare/bin/harness itself.
    """
    install_to_run(session)
    asked = any(argument.split("=")[0] == "--base" for argument in session.posargs)
    base = [] if asked else ["--base", merge_base(session)]
    session.run("harness", "compare", *base, *session.posargs)


def merge_base(session: nox.Session) -> str:
    """Return the commit at which this tree left origin/main; nothing where sessions are only installed."""
    asked = ("git", "merge-base", MAIN, "HEAD")
    found = session.run(*asked, external=True, silent=True, log=False, success_codes=(0, 1, 128))
    if not isinstance(found, str):
        return ""
    if not re.fullmatch(r"[0-9a-f]{40,64}", found.strip()):
        session.error(f"no commit in common with {MAIN}: nox -s compare -- --base REVISION")
    return found.strip()


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation: docs/_build/html/index.html. A warning is an error."""
    install_to_read(session)
    session.run("sphinx-build", "--quiet", "--fail-on-warning", "--keep-going", "docs", "docs/_build/html")
    session.log("docs/_build/html/index.html")


@nox.session
def selfbench(session: nox.Session) -> None:
    """Measure the harness itself: start, plan, reference, score, journal, report."""
    install_to_run(session)
    session.run(
        "pytest", "benchmarks", "-p", "no:xdist", "--benchmark-only", "--benchmark-sort=name",
        "-o", "python_files=bench_*.py", *session.posargs,
        env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
    )  # fmt: skip
