"""References on disk, found by what they depend on; a damaged entry is noticed and made again.

An entry is one file: a line of text that names the format, the SHA-256 of all that follows, a header
in JSON, and the arrays. The header repeats the key, so that another entry's file under this name is
noticed as well. Entries are written beside their place and moved there, so readers and writers of
other processes never see half of one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.model import Written, format_written
from harness.reference.elements import Reference, ReferenceArray
from harness.reference.folder import default_folder
from harness.reference.splitting import FIELDS

__all__ = ["SCHEMA", "DamagedEntryError", "ReferenceCache", "default_folder", "dumps", "loads"]

SCHEMA: Final = 1
"""Version of this file's format and of `ElementClass`; part of every key."""
_MAGIC: Final = f"numerics-harness reference {SCHEMA}\n".encode()
_DIGEST_BYTES: Final = 32
_COMPRESSED: Final = ("kind", "exponent", "radius_log2")
"""hi and lo are all significant bits: compressing them costs time and saves nothing."""
_ABANDONED_S: Final = 3600.0
"""Age at which an unfinished file is what a killed writer left."""


class ReferenceCache:
    """References by key in a folder, shared by runs and by processes.

    Attributes
    ----------
    hits, misses, corrupted : int
        What `get` found so far; a corrupted entry counts as nothing else.
    unwritten : int
        Entries that `put` could not write (a full or read-only disk): they cost time, not correctness.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.hits = 0
        self.misses = 0
        self.corrupted = 0
        self.unwritten = 0

    @staticmethod
    def key(
        *,
        operation: str,
        version: int,
        parameters: Mapping[str, Written],
        dtype: str,
        mode: str,
        inputs_digest: str,
        **more: str,
    ) -> str:
        """Return the key of a reference: SHA-256 (hex) over everything that it depends on.

        Numbers that are equal as written (1, 1.0, 1.00) are one; `more` is for what single modes need.
        """
        content = {
            "schema": SCHEMA,
            "operation": operation,
            "version": version,
            "parameters": {name: _canonical(parameters[name]) for name in sorted(parameters)},
            "dtype": dtype,
            "mode": mode,
            "inputs_digest": inputs_digest,
            **more,
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def path(self, key: str) -> Path:
        """Return where the entry of `key` lies, or would."""
        return self.folder / key[:2] / f"{key}.reference"

    def get(self, key: str) -> Reference | None:
        """Return the reference of `key`, or None where there is none or its entry is damaged."""
        try:
            content = self.path(key).read_bytes()
        except OSError:
            self.misses += 1
            return None
        try:
            reference = loads(content, key)
        except DamagedEntryError:
            self.corrupted += 1
            return None
        self.hits += 1
        return reference

    def put(self, key: str, reference: Reference) -> None:
        """Write the entry of `key`, replacing what is there in one step."""
        content = dumps(reference, key)
        path = self.path(key)
        partial: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(prefix=key[:16], suffix=".partial", dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(partial).replace(path)
            _sweep(path.parent)
        except OSError:
            self.unwritten += 1
            if partial is not None:
                Path(partial).unlink(missing_ok=True)

    def get_or_compute(self, key: str, compute: Callable[[], Reference]) -> tuple[Reference, str]:
        """Return a reference and where it is from: `cached`, `computed`, or `recomputed` (was damaged)."""
        damaged = self.corrupted
        found = self.get(key)
        if found is not None:
            return found, "cached"
        reference = compute()
        self.put(key, reference)
        return reference, "computed" if self.corrupted == damaged else "recomputed"


class DamagedEntryError(Exception):
    """What a file holds is no entry, not a whole one, or that of another key."""


def dumps(reference: Reference, key: str) -> bytes:
    """Return an entry's bytes: the same for the same reference and key."""
    arrays: list[dict[str, Any]] = []
    blocks: list[bytes] = []

    def add(name: str, array: NDArray[Any], *, compress: bool) -> None:
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        bits = little.reshape(-1).view(np.uint8).reshape(little.size, -1) if little.size else little
        constant = little.size > 1 and bool((bits == bits[0]).all())
        block = bits[0].tobytes() if constant else little.tobytes()
        packed = compress and not constant
        blocks.append(zlib.compress(block, 1) if packed else block)
        form = "constant" if constant else "zlib" if packed else "raw"
        entry = {"name": name, "dtype": little.dtype.str, "shape": list(array.shape), "form": form}
        arrays.append({**entry, "bytes": len(blocks[-1])})

    for name, output in reference.outputs.items():
        for part in FIELDS:
            add(f"output/{name}/{part}", getattr(output, part), compress=part in _COMPRESSED)
    quantities: dict[str, str | None] = {}
    for name, quantity in reference.quantities.items():
        if isinstance(quantity, np.ndarray):
            quantities[name] = None
            add(f"quantity/{name}", quantity, compress=False)
        else:
            quantities[name] = float(quantity).hex()
    header = {
        "key": key,
        "coverage": float(reference.coverage).hex(),
        "outputs": list(reference.outputs),
        "quantities": quantities,
        "arrays": arrays,
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    body = b"".join([len(text).to_bytes(8, "little"), text, *blocks])
    return b"".join([_MAGIC, hashlib.sha256(body).digest(), body])


def loads(content: bytes, key: str) -> Reference:
    """Return the reference of `key` that `dumps` wrote, bit for bit.

    Raises
    ------
    DamagedEntryError
        Bytes that are not those of an entry of this key.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    if not content.startswith(_MAGIC):
        raise DamagedEntryError("no entry, or one of another version")
    if hashlib.sha256(content[start:]).digest() != content[len(_MAGIC) : start]:
        raise DamagedEntryError("the content differs from its SHA-256")
    place = start + 8
    end = place + int.from_bytes(content[start:place], "little")
    header = json.loads(content[place:end])
    if header["key"] != key:
        raise DamagedEntryError(f"the entry is that of key {header['key']}")
    arrays: dict[str, NDArray[Any]] = {}
    for entry in header["arrays"]:
        block = content[end : end + entry["bytes"]]
        end += entry["bytes"]
        data = zlib.decompress(block) if entry["form"] == "zlib" else block
        flat = np.frombuffer(data, entry["dtype"])
        if entry["form"] == "constant":
            flat = np.repeat(flat, math.prod(entry["shape"]))
        native = flat.astype(flat.dtype.newbyteorder("="))
        arrays[entry["name"]] = native.reshape(entry["shape"])
    outputs = {
        name: ReferenceArray(*(arrays[f"output/{name}/{part}"] for part in FIELDS))
        for name in header["outputs"]
    }
    quantities = {
        name: arrays[f"quantity/{name}"] if number is None else float.fromhex(number)
        for name, number in header["quantities"].items()
    }
    return Reference(outputs, quantities, float.fromhex(header["coverage"]))


def _canonical(value: Written) -> str:
    kind = "number" if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else "word"
    return f"{kind}:{format_written(value)}"


def _sweep(folder: Path) -> None:
    """Remove what writers that were killed left unfinished."""
    now = time.time()
    for partial in folder.glob("*.partial"):
        try:
            if now - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink(missing_ok=True)
        except FileNotFoundError:
            continue
