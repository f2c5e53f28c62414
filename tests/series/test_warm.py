"""Getting ready can be done twice, and leaves nothing behind."""

from __future__ import annotations

import sys

from detector.ingest.decode import warming
from detector.series import allocation, store


def test_getting_ready_twice() -> None:
    for _ in range(2):
        store.warm()
        warming.warm()


def test_the_allocator_is_told_where_there_is_one_to_tell() -> None:
    assert allocation.settle() == sys.platform.startswith("linux")
