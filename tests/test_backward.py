"""Gradients from case to verdict: autograd and own gradients, judged by a rigorous derivative.

The operation is planted: a square whose input is stored in a format that its case names.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from harness import api, catalogue, registry
from harness.registry import OPERATIONS, gradient_output

PLANTED = Path(__file__).parent / "planted"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The case, run once; the operation is registered here only as long as it is needed."""
    catalogue.load()
    rooms = (registry.OPERATIONS, registry.FORMULATIONS, registry.GRADIENTS)
    before = [dict(room._items) for room in rooms]
    folder = tmp_path_factory.mktemp("backward")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLANTED))
        patch.setenv("HARNESS_CACHE", str(folder / "cache"))
        yield api.run(
            [PLANTED / "scaled_square.yaml"], plugins=["scaled_square"], out=folder / "run", reports=()
        )
        sys.modules.pop("scaled_square", None)
        for room, items in zip(rooms, before, strict=True):
            room._items.clear()
            room._items.update(items)


def rows(run, **coordinates):
    found = [r for r in run.rows if all(r[k] == v for k, v in coordinates.items())]
    assert found
    return found


@pytest.mark.parametrize("source", ["float32", "float64"])
def test_a_gradient_of_its_own_is_judged_by_the_derivative(run, source):
    (row,) = rows(run, formulation="doubled", backend="numpy", **{"axis.source": source})
    assert (row["verdict"], row["output"], row["mode"]) == ("pass", gradient_output("x"), "backward")
    assert row["bound_ratio"] <= 1
    assert row["cell"].endswith("/backward")


def test_a_gradient_without_its_factor_fails(run):
    """Half of the derivative: the error is |y|/2, of which the bound allows 3u|y| + ω."""
    for row in rows(run, formulation="forgotten", backend="numpy"):
        assert row["verdict"] == "fail"
        assert row["bound_ratio"] == pytest.approx(2.0**24 / 6, rel=1e-3)


def test_numpy_differentiates_a_formulation_that_declares_no_gradient_on_the_tape(run):
    for row in rows(run, formulation="underived", backend="numpy"):
        assert row["verdict"] == "pass"
        assert row["bound_ratio"] <= 1


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("name", ["doubled", "forgotten", "underived"])
def test_torch_differentiates_whatever_it_runs(run, name):
    """Through the formulation, which is right: a gradient of its own is of no concern there."""
    for row in rows(run, formulation=name, backend="torch-cpu"):
        assert row["verdict"] == "pass"
        assert row["bound_ratio"] <= 1


def test_inputs_differ_with_their_format(run):
    """The cotangent is stored as the cell is, x as the case says: two sets of inputs."""
    digests = {r["axis.source"]: r["inputs_digest"] for r in run.rows if r["inputs_digest"]}
    assert len(set(digests.values())) == 2


def test_an_input_keeps_the_digits_of_its_own_format(run):
    """x in float64 is not rounded to the cell's float32: its squares differ, and so do the gradients."""
    exact = {r["axis.source"]: r["worst_exact"] for r in rows(run, formulation="forgotten", backend="numpy")}
    assert len(set(exact.values())) == 2


@pytest.mark.parametrize("wanted", [["b"], ["b", "a"], ["a", "b"]])
def test_gradients_come_in_the_order_they_are_asked_for(tmp_path, monkeypatch, wanted):
    """The shapes of a and b differ, so that one taken for the other would be no result at all."""
    (tmp_path / "case.yaml").write_text(
        f"""
case: product-gradient
title: Gradients of a product
topic: differentiation
operation: matmul
backends: [numpy, torch-cpu]
dtypes: [float32]
inputs:
  a: {{recipe: normal, shape: [2, 3]}}
  b: {{recipe: normal, shape: [3, 5]}}
differentiate:
  with_respect_to: [{", ".join(wanted)}]
  cotangent: {{recipe: normal, shape: [2, 5]}}
"""
    )
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    found = api.run([tmp_path / "case.yaml"], out=tmp_path / "run", reports=())
    judged = [row for row in found.rows if row["verdict"] != "skip"]
    assert judged
    assert [(r["cell"], r["output"], r["reason"]) for r in judged if r["verdict"] != "pass"] == []
    cells = {row["cell"] for row in judged}
    for cell in cells:
        named = [row["output"] for row in judged if row["cell"] == cell]
        assert named == [gradient_output(name) for name in wanted]
    elements = {(row["output"], row["elements"]) for row in judged}
    assert elements == {(gradient_output(name), {"a": 6, "b": 15}[name]) for name in wanted}


def test_the_worst_element_is_told_beside_the_exact_one(run):
    (row,) = rows(run, formulation="forgotten", backend="numpy", **{"axis.source": "float32"})
    computed, exact = float(row["worst_computed"]), float(row["worst_exact"])
    assert exact == pytest.approx(2 * computed, rel=2.0**-22)
    assert row["value"] is None, "of outputs with one element only"


def test_the_gradient_of_an_operation_is_an_operation():
    catalogue.load()
    dot = OPERATIONS["dot"]
    assert dot.differentiated(()) is dot
    with pytest.raises(ValueError, match="no derivative with respect to z"):
        dot.differentiated(("z",))
