"""The worker, a program of its own: runs and times formulations of one backend, and nothing else.

Started as `python -m harness.worker` with the backend's environment set; requests and replies are JSON
lines (`harness.protocol`), arrays are files of bit patterns.

- `{"do": "run", "cell": id, "operation", "formulation", "dtype", "parameters", "inputs": {name: path},
  "outputs": prefix}` computes a cell once, with checked dtypes, and writes its outputs.
- `{"do": "time", "cells": [the same, with "budget_s"], "quick": bool}` times a batch, one reply a cell.
- `{"do": "peak", "dtype": name}`, `{"do": "bandwidth"}`, `{"do": "facts"}` measure and describe.

Whatever a formulation raises is a reply with status `raised`; `error` is a fault of ours or a request
that cannot be served, and never a result. After a formulation that left another floating-point
environment behind, a reply says so in `fp_environment` and asks with `replace` for a fresh worker.
"""
