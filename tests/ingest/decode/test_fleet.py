"""The benchmark's requests are what a sender would write."""

from __future__ import annotations

from benchmarks.fleet import Fleet, labels
from detector.ingest.decode import Decoded
from detector.ingest.decode.remote_write import RemoteWriteDecoder
from detector.series.labels import Index
from detector.series.limits import Limits


def test_every_series_once_a_scrape_with_its_labels_and_the_time() -> None:
    index, decoder, fleet = Index(), RemoteWriteDecoder(), Fleet(250, 100)
    for at in (1_700_000_000_000, 1_700_000_015_000):
        found = []
        for body in fleet.scrape(at):
            decoded = decoder.decode(body, index, Limits())
            assert isinstance(decoded, Decoded)
            assert set(decoded.batch.at.tolist()) == {at}
            found += decoded.batch.series.tolist()
        assert [tuple(index.labels_of(id).items()) for id in found] == [tuple(labels(n, 0)) for n in range(250)]
    assert len({index.target_of(id) for id in found}) == 5
