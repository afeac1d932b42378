"""torch-cuda as far as no GPU is needed: what is missing, settings, modes. Conformance needs one."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.backends import torch_cuda
from harness.backends.torch_cuda import (
    CAPABILITIES,
    FLAGS,
    SETTINGS,
    TorchCudaBackend,
    make_settings,
    settings_found,
    without_cuda,
    without_device,
)
from harness.errors import UserError
from harness.formats import DTYPES
from harness.registry import BACKENDS, Backend, Lack, support

BACKEND = BACKENDS["torch-cuda"]


# ---- what is missing


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip = None", "built without CUDA"),
        ("__version__ = '2.9.0+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None", None),
        ("__version__ = '2.9.1'\ncuda = '13.0'\nhip = None", None),
        ("__version__ = '2.10.0+rocm7'\ncuda: str | None = None\nhip: str | None = '7.0'", "AMD's ROCm"),
    ],
)  # fmt: skip
def test_a_torch_without_cuda_is_known_from_its_version_file(tmp_path, lines, reason):
    (tmp_path / "version.py").write_text(f"from typing import Optional\n\n__all__ = ['cuda']\n{lines}\n")
    found = without_cuda(tmp_path)
    assert found is None if reason is None else reason in found
    assert reason is None or lines.split("'")[1] in found, "its version is told"


def test_a_torch_that_tells_nothing_is_a_lack(tmp_path):
    assert "no version.py" in without_cuda(tmp_path)


class Driver:
    """Stands for libcuda."""

    def __init__(self, count=1, init=0, counting=0):
        self.count, self.init, self.counting = count, init, counting

    def cuInit(self, flags):
        assert flags == 0
        return self.init

    def cuDeviceGetCount(self, where):
        ctypes.cast(where, ctypes.POINTER(ctypes.c_int))[0] = self.count
        return self.counting


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(), None),
        (Driver(count=0), "the NVIDIA driver shows no device"),
        (Driver(init=100), "the NVIDIA driver finds no device"),
        (Driver(init=803), "the NVIDIA driver cannot be started: cuInit gives error 803 of cuda.h"),
        (Driver(counting=3), "the NVIDIA driver does not tell its devices: error 3 of cuda.h"),
    ],
)
def test_the_driver_itself_is_asked_for_devices(driver, reason):
    assert without_device(driver) == reason


def reason_here(monkeypatch, tmp_path, visible=None, library=None):
    """Return why there is none where torch has CUDA, the driver library is `library`, and so on."""
    (tmp_path / "version.py").write_text("__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n")
    monkeypatch.setattr(torch_cuda, "torch_folder", lambda: tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def load(name):
        if library is None:
            raise OSError(f"{name}: cannot open shared object file")
        return library

    monkeypatch.setattr(torch_cuda.ctypes, "CDLL", load)
    torch_cuda._without_device.cache_clear()
    try:
        return BACKEND.unavailable()
    finally:
        torch_cuda._without_device.cache_clear()


def test_reasons_come_in_the_order_in_which_they_can_be_mended(monkeypatch, tmp_path):
    assert reason_here(monkeypatch, tmp_path) == "no NVIDIA driver: libcuda.so.1 cannot be loaded"
    assert reason_here(monkeypatch, tmp_path, library=Driver(count=0)) == "the NVIDIA driver shows no device"
    assert reason_here(monkeypatch, tmp_path, library=Driver()) is None
    assert reason_here(monkeypatch, tmp_path, library=Driver(), visible="0") is None
    for hidden in ("", "-1"):
        told = reason_here(monkeypatch, tmp_path, library=Driver(), visible=hidden)
        assert told == f"CUDA_VISIBLE_DEVICES={hidden} hides every device"


def test_nothing_heavy_is_imported_to_find_out():
    code = (
        "import sys; from harness.backends.torch_cuda import TorchCudaBackend as B; B().unavailable();"
        "sys.exit(bool({'torch', 'numpy', 'pynvml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- declarations


def test_it_is_a_backend():
    assert isinstance(TorchCudaBackend(), Backend)
    assert BACKEND.autograd


def test_modes_are_dtypes_with_settings_of_their_own():
    assert set(FLAGS) == {"tf32", "float16_reduced", "bfloat16_reduced", "float16_accumulate"}
    assert set(FLAGS) <= set(CAPABILITIES)
    made = [tuple(sorted(settings.items())) for settings in FLAGS.values()]
    assert len(set(made)) == len(made), "each has a worker of its own"
    for settings in FLAGS.values():
        assert set(settings) <= set(SETTINGS)
        assert all(value != SETTINGS[name] for name, value in settings.items())


def test_a_mode_is_held_to_what_it_allows():
    for dtype, compute in {
        "float16": "float32", "float16_reduced": "float16", "float16_accumulate": "float16",
        "bfloat16": "float32", "bfloat16_reduced": "bfloat16", "tf32": "float32", "float32": "float32",
    }.items():  # fmt: skip
        assert support("matmul", "library", BACKEND, dtype) == compute
    assert DTYPES["tf32"].u_in == 2.0**-11


def test_what_is_not_there_says_why():
    for operation, dtype, said in [
        ("least_squares", "float64", "gels alone"),
        ("least_squares", "float16", "float16"),
        ("softmax", "float16_reduced", "torch-cuda's library of softmax does not take float16_reduced"),
        ("matmul", "float8_e4m3fn", "storage only"),
    ]:
        found = support(operation, "library", BACKEND, dtype)
        assert isinstance(found, Lack)
        assert said in found.reason


def test_products_are_repeatable_only_with_fixed_workspaces():
    assert BACKEND.environment(2)["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


# ---- settings


class Matmul:
    """Stands for torch.backends.cuda.matmul; some settings may not take."""

    def __init__(self, stuck=()):
        vars(self)["stuck"] = stuck
        vars(self).update(
            fp32_precision="none",
            allow_fp16_reduced_precision_reduction=True,
            allow_bf16_reduced_precision_reduction=True,
            allow_fp16_accumulation=False,
        )

    def __setattr__(self, name, value):
        if name not in vars(self):
            raise AttributeError(f"Unknown attribute {name}")
        if name not in self.stuck:
            vars(self)[name] = value


def fake_torch(stuck=()):
    place = SimpleNamespace
    cudnn = place(conv=place(fp32_precision="tf32"), rnn=place(fp32_precision="tf32"))
    backends = place(fp32_precision="none", cudnn=cudnn, cuda=place(matmul=Matmul(stuck)))
    return place(__version__="2.13.0", backends=backends)


@pytest.mark.parametrize("dtype", ["float32", *FLAGS])
def test_every_setting_is_made_for_every_mode_and_read_back(dtype):
    torch = fake_torch()
    make_settings(torch, FLAGS.get(dtype, {}), (9, 0))
    assert settings_found(torch) == {**SETTINGS, **FLAGS.get(dtype, {})}
    precision = torch.backends.cuda.matmul.fp32_precision
    assert precision == ("tf32" if dtype == "tf32" else "ieee")
    assert {precision} == {
        torch.backends.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cudnn.rnn.fp32_precision,
    }


@pytest.mark.parametrize(("dtype", "stuck"), [(d, s) for d, settings in FLAGS.items() for s in settings])
def test_a_setting_that_does_not_take_is_an_error(dtype, stuck):
    torch = fake_torch(stuck=(stuck,))
    if stuck.startswith("allow_") and getattr(torch.backends.cuda.matmul, stuck):
        vars(torch.backends.cuda.matmul)[stuck] = False
    with pytest.raises(UserError, match=rf"^torch was set to {stuck} = \w+ and tells {stuck} = \w+$"):
        make_settings(torch, FLAGS[dtype], (9, 0))


def test_a_default_that_does_not_take_is_an_error_too():
    torch = fake_torch(stuck=("allow_bf16_reduced_precision_reduction",))
    with pytest.raises(
        UserError, match=r"allow_bf16_reduced_precision_reduction = false and tells .* = true"
    ):
        make_settings(torch, {}, (9, 0))


def test_a_torch_without_the_settings_is_an_error():
    torch = fake_torch()
    del vars(torch.backends.cuda.matmul)["fp32_precision"]
    with pytest.raises(UserError, match=r"torch 2\.13\.0 does not take fp32_precision = ieee"):
        make_settings(torch, {}, (9, 0))


@pytest.mark.parametrize(("dtype", "capability"), [("tf32", (7, 5)), ("float16_accumulate", (6, 1))])
def test_a_setting_that_changes_nothing_on_this_gpu_is_an_error(dtype, capability):
    with pytest.raises(UserError, match="changes nothing on this GPU"):
        make_settings(fake_torch(), FLAGS[dtype], capability)
    make_settings(fake_torch(), {}, capability)
    make_settings(
        fake_torch(), {name: SETTINGS[name] for name in FLAGS[dtype]}, capability
    )  # changes nothing
    make_settings(fake_torch(), FLAGS[dtype], torch_cuda.LEAST_CAPABILITY[next(iter(FLAGS[dtype]))])


# ---- what torch.cuda is asked, without a device


def test_the_peak_is_that_of_one_call_beyond_what_was_held(monkeypatch):
    """An allocator that had given out 5000 bytes at its worst, and 100 before the call, which takes 64."""
    torch = pytest.importorskip("torch")
    held = SimpleNamespace(now=100, peak=5000, waited=0, done=False)

    def thunk():
        held.now += 64
        held.done = False

    def wait():
        held.waited += 1
        if held.now > 100:
            held.done, held.peak = True, max(held.peak, held.now)

    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: setattr(held, "peak", held.now))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: held.now)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: held.peak)
    assert TorchCudaBackend().peak_memory(thunk) == 64
    assert held.done, "read when the device is done with the call"


def test_timers_are_cold_then_graphs_then_the_hosts(monkeypatch):
    torch = pytest.importorskip("torch")
    properties = SimpleNamespace(L2_cache_size=200 << 20, uuid="1")
    made = []

    def empty(nbytes, **options):
        made.append((nbytes, options["device"]))
        return SimpleNamespace(zero_=lambda: None)

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: properties)
    monkeypatch.setattr(torch_cuda, "_pace", lambda uuid: uuid)
    monkeypatch.setattr(torch, "empty", empty)
    timers = TorchCudaBackend().timers()
    assert [timer.name for timer in timers] == ["cuda-cold", "cuda-graph", "wall"]
    assert [timer.pace for timer in timers] == ["GPU-1"] * 3
    assert all(timer.warm_s > 0 for timer in timers)
    assert made == [(400 << 20, "cuda")]  # twice the cache


def test_torch_itself_takes_every_mode_and_is_never_asked_the_old_way():
    """In a process of its own: the settings are the process's. torch raises where old and new are mixed."""
    pytest.importorskip("torch")
    code = """
import torch
from harness.backends.torch_cuda import FLAGS, SETTINGS, make_settings, settings_found, attention_choices
for flags in ({}, *FLAGS.values(), {}):
    make_settings(torch, flags, (9, 0))
    assert settings_found(torch) == {**SETTINGS, **flags}, flags
assert attention_choices(torch, "cpu").count(",") == 3
try:
    make_settings(torch, {"fp32_precision": "high"}, (9, 0))
except Exception as error:
    assert "does not take" in str(error), error
else:
    raise AssertionError("an unknown precision was taken")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
