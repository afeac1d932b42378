"""Backends: array libraries on a device, one a file, each with its own `library` callables.

What a backend must give is `harness.registry.Backend`; its conformance is tested for every backend
that is registered (`tests/test_conformance.py`).
"""
