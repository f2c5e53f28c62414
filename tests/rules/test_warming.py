"""After warming nothing is left to compile."""

from __future__ import annotations

from detector.rules.promql import kernels
from detector.rules.warming import warm


def test_every_kernel_is_compiled() -> None:
    warm()
    compiled = {name: f for name, f in vars(kernels).items() if hasattr(f, "signatures")}
    assert compiled
    assert {name for name, f in compiled.items() if not f.signatures and not name.startswith("_")} == set()
