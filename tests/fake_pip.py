"""A pip that writes what it was asked for into its own environment; FAKE_PIP says how it fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

arguments = sys.argv[1:]
record = Path(os.environ["FAKE_PIP_RECORD"])
with record.open("a") as file:
    limits = Path(arguments[arguments.index("--constraint") + 1]).read_text().splitlines()
    redirected = sorted(name for name in ("PIP_TARGET", "PYTHONPATH") if name in os.environ)
    told = {"arguments": arguments, "constraints": limits, "redirected": redirected, "pid": os.getpid()}
    file.write(json.dumps(told) + "\n")

how = os.environ.get("FAKE_PIP", "")
site = Path(sysconfig.get_path("purelib"))
print("Looking in indexes", "WARNING: Location 'x' is ignored", sep="\n")
if how == "fail":
    print("Collecting tiny", "ERROR: Could not find a version", "ERROR: No matching distribution", sep="\n")
    sys.exit(1)
if how == "interrupt":
    (site / "half.py").write_text("")
    record.with_name("child").write_text(str(subprocess.Popen(["sleep", "120"]).pid))
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(120)
while how == "hold" and not record.with_name("release").exists():
    time.sleep(0.02)
if how == "slow":
    time.sleep(0.5)
for requirement in arguments[arguments.index("--") + 1 :]:
    name, version = re.fullmatch(r"([\w.-]+)(?:==(.*)|.*)", requirement).groups()
    if how == "lie":
        version = "0.1"
    folder = site / f"{name}-{version or '1.0'}.dist-info"
    folder.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version or '1.0'}\n"
    (folder / "METADATA").write_text(text)
