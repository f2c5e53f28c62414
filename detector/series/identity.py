"""Identities that survive a replay: derived from what a thing is, never from when the program met it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def symptom_id(detector: str, labels: Mapping[str, str], onset: int) -> str:
    """16 hex digits from detector, label set and onset (ms): the same symptom has the same id in every replay."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (detector, str(onset), *(text for pair in sorted(labels.items()) for text in pair)):
        raw = part.encode("utf-8", "surrogatepass")
        # Length-prefixed, so that no two lists of parts share their bytes.
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return digest.hexdigest()
