"""Remote write decodes to what was sent, keeps the good beside the bad, and survives any bytes."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.ingest.decode import Decoded, Rejected
from detector.ingest.decode.remote_write import RemoteWriteDecoder
from detector.nouns import LabelSet
from detector.series.labels import Index
from detector.series.limits import Limits
from tests.ingest.decode import encode

UP = [(b"__name__", b"up"), (b"instance", b"a:1"), (b"job", b"node")]


def decode(
    body: bytes, index: Index, decoder: RemoteWriteDecoder | None = None, limits: Limits | None = None
) -> Decoded:
    result = (decoder or RemoteWriteDecoder()).decode(body, index, limits or Limits())
    assert isinstance(result, Decoded), result
    return result


def samples(decoded: Decoded, index: Index) -> list[tuple[LabelSet, int, bytes]]:
    batch = decoded.batch
    labels = [tuple(index.labels_of(id).items()) for id in batch.series.tolist()]
    values = [struct.pack("<d", v) for v in batch.value.tolist()]
    return list(zip(labels, batch.at.tolist(), values, strict=True))


names = st.sampled_from(["__name__", "job", "instance", "le", "é", "a" * 200])
anything = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
texts = st.one_of(st.sampled_from(["up", "x", "y" * 300]), anything)
label_sets = st.dictionaries(names, texts, min_size=1, max_size=6).map(lambda d: tuple(sorted(d.items())))
times = st.one_of(st.integers(0, 2_000_000_000_000), st.integers(-(1 << 63), (1 << 63) - 1))
points = st.tuples(times, st.floats(width=64))
requests = st.lists(st.tuples(label_sets, st.lists(points, max_size=4)), max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(requests, max_size=5))
def test_what_is_sent_is_what_is_decoded(sent: list[list[tuple[LabelSet, list[tuple[int, float]]]]]) -> None:
    index, decoder = Index(), RemoteWriteDecoder()
    for request in sent:
        body = encode.request(
            *[([(n.encode(), v.encode()) for n, v in labels], samples) for labels, samples in request]
        )
        expected = [(labels, at, struct.pack("<d", v)) for labels, samples in request for at, v in samples]
        assert samples(decode(body, index, decoder), index) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_message_is_decoded_or_refused(message: bytes) -> None:
    for body in (message, encode.packed(message), encode.packed(encode.field(1, message))):
        result = RemoteWriteDecoder().decode(body, Index(), Limits())
        assert isinstance(result, Decoded) or result.status in (400, 413)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_request_is_decoded_or_refused(data: st.DataObject) -> None:
    whole = bytearray(encode.series(UP, [(1000, 1.0), (2000, 2.0)]) * 3 + encode.metadata(1, b"up", b"is it up"))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    index, decoder = Index(), RemoteWriteDecoder()
    for _ in range(2):
        result = decoder.decode(encode.packed(cut), index, Limits())
        assert isinstance(result, Decoded) or (result.status, result.reason) == (400, "bad-protobuf")


def test_births_come_with_the_batch_that_first_uses_them() -> None:
    index, decoder = Index(), RemoteWriteDecoder()
    body = encode.packed(encode.metadata(1, b"up") + encode.series(UP, [(1000, 1.0)]))
    born = decode(body, index, decoder).batch.born
    assert [(b.labels, b.target, b.type) for b in born] == [
        ((("__name__", "up"), ("instance", "a:1"), ("job", "node")), "node\xffa:1", "counter")
    ]
    assert decode(body, index, decoder).batch.born == ()
    assert index.metric_types()["up"] == "counter"


def test_a_released_series_is_born_again() -> None:
    index, decoder = Index(), RemoteWriteDecoder()
    id = int(decode(encode.request((UP, [(1, 1.0)])), index, decoder).batch.series[0])
    index.release(np.array([id], np.int32))
    other = index.intern((("a", "b"),), "t")
    assert other == id
    batch = decode(encode.request((UP, [(2, 1.0)])), index, decoder).batch
    assert batch.series.tolist() != [id]
    assert [b.id for b in batch.born] == [other, *batch.series.tolist()]
    assert batch.gone.tolist() == [id]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([], "no-labels"),
        ([(b"a", b"")], "no-labels"),
        ([(b"", b"x")], "bad-label-name"),
        ([(b"a", b"1"), (b"a", b"2")], "duplicate-label"),
        ([(b"a", b"\xff")], "bad-utf8"),
        ([(b"n%d" % i, b"x") for i in range(6)], "too-many-labels"),
        ([(b"n" * 21, b"x")], "label-name-too-long"),
        ([(b"n", b"x" * 31)], "label-value-too-long"),
    ],
)
def test_bad_series_are_counted_and_the_good_ones_kept(labels: list[tuple[bytes, bytes]], reason: str) -> None:
    index, decoder = Index(), RemoteWriteDecoder()
    limits = Limits(labels_per_series=5, label_name_bytes=20, label_value_bytes=30)
    body = encode.request((UP, [(1, 1.0)]), (labels, [(1, 1.0), (2, 1.0)]), (UP, [(2, 2.0)]))
    for _ in range(2):
        decoded = decode(body, index, decoder, limits)
        assert decoded.rejected == {reason: 2}
        assert decoded.batch.at.tolist() == [1, 2]
        assert decoded.samples == 4
    assert index.size == 1


def test_the_series_limit_refuses_new_ones_until_there_is_room() -> None:
    index, decoder, limits = Index(), RemoteWriteDecoder(), Limits(series=1)
    body = encode.request((UP, [(1, 1.0)]), ([(b"a", b"b")], [(1, 1.0)]))
    for _ in range(2):
        decoded = decode(body, index, decoder, limits)
        assert decoded.rejected == {"series-limit": 1}
        assert len(decoded.batch.series) == 1
    index.release(index.all())
    assert decode(encode.request(([(b"a", b"b")], [(1, 1.0)])), index, decoder, limits).rejected == {}


def test_labels_in_any_order_and_place_are_one_series() -> None:
    index, decoder = Index(), RemoteWriteDecoder()
    backwards = encode.series(UP[::-1], [(1, 1.0)])
    scattered = encode.field(
        1,
        encode.label(*UP[0])
        + encode.sample(2, 2.0)
        + encode.label(*UP[1])
        + encode.sample(3, 3.0)
        + encode.label(*UP[2]),
    )
    batch = decode(encode.packed(backwards + scattered + encode.series(UP, [(4, 4.0)])), index, decoder).batch
    assert index.size == 1
    assert batch.at.tolist() == [1, 2, 3, 4]


def test_what_is_not_kept_is_skipped_and_native_histograms_are_counted() -> None:
    index = Index()
    inside = b"".join(encode.label(*pair) for pair in UP) + encode.sample(1, 1.0)
    exemplar, histogram = encode.field(3, b"\x11" + bytes(8)), encode.field(4, b"\x08\x01")
    message = encode.field(1, inside + exemplar + histogram) + encode.field(9, b"later") + b"\x50\x01"
    decoded = decode(encode.packed(message), index)
    assert decoded.rejected == {"native-histogram": 1}
    assert decoded.batch.at.tolist() == [1]


def test_a_sample_that_says_nothing_is_zero_at_zero() -> None:
    index = Index()
    message = encode.field(1, b"".join(encode.label(*pair) for pair in UP) + encode.field(2, b""))
    batch = decode(encode.packed(message), index).batch
    assert (batch.at.tolist(), batch.value.tolist()) == ([0], [0.0])


def test_a_bomb_is_refused_before_it_is_inflated() -> None:
    bomb = encode.packed(bytes(50_000_000))
    assert len(bomb) < 3_000_000
    result = RemoteWriteDecoder().decode(bomb, Index(), Limits(inflated_bytes=1 << 20))
    assert isinstance(result, Rejected)
    assert (result.status, result.reason) == (413, "body-too-large")
    assert "50000000" in result.detail
    assert "limits.inflated_bytes" in result.detail


def test_limits_of_body_and_samples() -> None:
    body = encode.request((UP, [(t, 0.0) for t in range(11)]))
    refused = {"body-too-large": Limits(body_bytes=10), "too-many-samples": Limits(samples_per_request=10)}
    for reason, limits in refused.items():
        result = RemoteWriteDecoder().decode(body, Index(), limits)
        assert isinstance(result, Rejected)
        assert (result.status, result.reason) == (413, reason)


def test_nan_and_stale_markers_keep_their_bits() -> None:
    bits = [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8000000000000, 0x7FF4000000000A11]
    message = b"".join(encode.label(*pair) for pair in UP)
    for i, b in enumerate(bits):
        message += encode.field(2, b"\x09" + struct.pack("<Q", b) + b"\x10" + encode.varint(i))
    batch = decode(encode.packed(encode.field(1, message)), Index()).batch
    assert batch.value.view(np.uint64).tolist() == bits
    assert all(math.isnan(v) for v in batch.value.tolist())


def test_an_empty_body_is_an_empty_batch() -> None:
    assert len(decode(b"", Index()).batch.series) == 0
    assert len(decode(encode.packed(b""), Index()).batch.series) == 0


def test_texts_of_series_that_come_and_go_leave_the_cache_flat() -> None:
    index, decoder = Index(), RemoteWriteDecoder()
    sizes = []
    for generation in range(60):
        body = encode.request(*[([(b"pod", b"%d-%d" % (generation, i))], [(1, 1.0)]) for i in range(300)])
        decode(body, index, decoder)
        index.release(index.all())
        sizes.append(decoder.cache.bytes())
    assert max(sizes[5:]) <= 3 * max(sizes[:3])
