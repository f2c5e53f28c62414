"""Series that come and go leave memory flat: 10 % of them replaced an hour, for a simulated day."""

from __future__ import annotations

import numpy as np
import pytest

from detector.ingest.decode import Decoded
from detector.ingest.decode.remote_write import RemoteWriteDecoder
from detector.nouns import Batch, Ids
from detector.series.limits import Depth, Limits
from detector.series.store import Store
from tests.ingest.decode import encode

INTERVAL = 150_000
PODS = 60
PER_POD = 5


def body(pods: list[int], at: int) -> bytes:
    return encode.request(*[
        ([(b"__name__", b"metric_%d" % k), (b"instance", b"10.0.0.%d:80" % pod), (b"job", b"pods"),
          (b"pod", b"pod-%d" % pod)], [(at, float(k))])
        for pod in pods for k in range(PER_POD)
    ])  # fmt: skip


def bytes_of(store: Store, decoder: RemoteWriteDecoder) -> dict[str, int]:
    return {**store.memory(), "texts": decoder.cache.bytes()}


@pytest.mark.parametrize("whole_targets", [True, False])
def test_memory_is_flat(whole_targets: bool) -> None:
    store, decoder, limits = Store(depth=Depth(default=70 * 60_000)), RemoteWriteDecoder(), Limits()
    pods, fresh = list(range(PODS)), PODS
    figures, counts, capacity = [], [], []
    for step in range(24 * 24):
        at = step * INTERVAL
        if step % 4 == 3:  # one pod of sixty every ten minutes: a tenth of them an hour
            pods[(step // 4) % PODS] = fresh
            fresh += 1
        if whole_targets:
            message = body(pods, at)
        else:  # the series of one target, which stays, are replaced
            message = encode.request(
                *[
                    (
                        [(b"__name__", b"m_%d" % k), (b"instance", b"one"), (b"job", b"j"), (b"id", b"%d" % pod)],
                        [(at, 1.0)],
                    )
                    for pod in pods
                    for k in range(PER_POD)
                ]
            )
        decoded = decoder.decode(message, store.index, limits)
        assert isinstance(decoded, Decoded)
        accepted = store.accept(decoded.batch)
        assert accepted.stored == PODS * PER_POD
        if step % 2 == 0:
            store.sweep(at)
        if step % 24 == 23:
            figures.append(bytes_of(store, decoder))
            counts.append(store.series_count)
            capacity.append(store.index.capacity)
    early, late = figures[4], figures[-1]
    for part in early:
        assert max(figure[part] for figure in figures[5:]) <= 1.25 * early[part] + 20_000, (part, early, late)
    assert max(counts) <= PODS * PER_POD * 1.3
    assert capacity[-1] <= capacity[4] * 1.1
    window = store.window(store.index.all(), at - 10 * INTERVAL, at)
    assert np.count_nonzero(np.diff(window.first) == 10) >= (PODS - 3) * PER_POD


def test_targets_that_shrink_give_their_columns_back() -> None:
    store = Store(depth=Depth(default=60_000))
    names = [(f"t{t}", str(i)) for t in range(10) for i in range(200)]
    ids = np.array([store.index.intern((("n", n), ("t", t)), t) for t, n in names], np.int32)

    def go_on(ids: Ids, start: int, end: int) -> None:
        for at in range(start, end, 1000):
            store.accept(Batch("t", ids, np.full(len(ids), at), np.ones(len(ids))))
            if at % 10_000 == 0:
                store.sweep(at)

    go_on(ids, 0, 200_000)
    wide = store.memory()["samples"]
    go_on(ids[::50], 200_000, 500_000)
    assert store.series_count == 40
    assert store.memory()["samples"] < wide / 5
    assert store.evidence(int(ids[50]), 450_000, 490_000)[1].tolist() == [1.0] * 40
