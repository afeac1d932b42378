"""A pytest plug-in: a NumPy that starts only where its variable is set, and one that declares wrongly."""

import os

from harness.backends.numpy import CAPABILITIES, NumpyBackend, register


def require_variable():
    if os.environ.get("PLANTED_SETTING") != "on":
        raise RuntimeError("started without its variable")


register(
    NumpyBackend(
        name="numpy-configured",
        variables={"PLANTED_SETTING": "on"},
        configure=require_variable,
        title="Configured",
    )
)
register(
    NumpyBackend(
        name="numpy-misdeclared",
        title="Misdeclared",
        variables={"PLANTED_SETTING": "other"},
        capabilities={
            "float16": {**CAPABILITIES["float16"], "sum": "float32", "matmul": "float64"},
            "float32": {**CAPABILITIES["float32"], "linalg": "float64"},
            "float64": {**CAPABILITIES["float64"], "sum": "float32"},
        },
    )
)
