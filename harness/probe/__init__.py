"""The program that measures one side of a comparison: the same measuring code for both.

Started by path (`start.py`) in the side's interpreter, with the side's folders on its path. There this
harness's folder is the package `harness_probe`, while `harness` is whatever the side has: so that two
versions of the kernels are measured by one version of the clock. What is loaded under that name (this
package, `timing/`, `channel.py`, `protocol.py`, `model.py`) imports its neighbours relatively, and nothing
beyond the standard library. The one thing asked of the side's harness is `harness.worker.bridge`.

Requests, beside `run` and `facts` as a worker's:

- `{"do": "open", "cell": id, …}` builds a cell's thunk and runs it once.
- `{"do": "calibrate", "cell": id}` → `calls`, `seconds_per_call`, `timer`.
- `{"do": "slot", "cell": id, "timer", "calls", "sub_blocks", "seed", "cpus", "fresh"}` → `seconds` a call.
- `{"do": "close"}` forgets all cells.
"""
