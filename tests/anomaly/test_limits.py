"""Names that tell which series runs towards which limit, and names that must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.anomaly.limits import category, item, pairs, read, words


@pytest.mark.parametrize(
    ("used", "limit", "what"),
    [
        ("process_open_fds", "process_max_fds", "capacity/file-descriptors"),
        ("redis_memory_used_bytes", "redis_memory_max_bytes", "capacity/memory"),
        ("app_queue_depth", "app_queue_limit", "capacity/queue"),
        ("app_queue_current_size", "app_queue_max_size", "capacity/queue"),
        ("app_db_pool_in_use", "app_db_pool_size", "capacity/connections"),
        ("container_memory_working_set_bytes", "container_spec_memory_limit_bytes", "capacity/memory"),
        ("node_filefd_allocated", "node_filefd_maximum", "capacity/file-descriptors"),
        ("node_nf_conntrack_entries", "node_nf_conntrack_entries_limit", "capacity/connections"),
        ("jvm_memory_used_bytes", "jvm_memory_max_bytes", "capacity/memory"),
        ("kubelet_volume_stats_used_bytes", "kubelet_volume_stats_capacity_bytes", "capacity/disk"),
        ("haproxy_backend_current_sessions", "haproxy_backend_limit_sessions", "capacity/connections"),
        ("hikaricp_connections_active", "hikaricp_connections_max", "capacity/connections"),
    ],
)
def test_used_finds_its_limit(used: str, limit: str, what: str) -> None:
    found = {pair.used: pair for pair in pairs([used, limit, "up", "http_requests_total"])}
    assert (found[used].limit, found[used].falling, found[used].category) == (limit, False, what)


@pytest.mark.parametrize(
    ("free", "total", "what"),
    [
        ("node_filesystem_avail_bytes", "node_filesystem_size_bytes", "capacity/disk"),
        ("node_filesystem_files_free", "node_filesystem_files", "capacity/disk"),
        ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", "capacity/memory"),
        ("kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes", "capacity/disk"),
        ("windows_logical_disk_free_bytes", "windows_logical_disk_size_bytes", "capacity/disk"),
        ("cache_avail_bytes", None, "saturation"),
    ],
)
def test_free_runs_out_at_zero(free: str, total: str | None, what: str) -> None:
    found = {pair.used: pair for pair in pairs([name for name in (free, total) if name])}
    assert (found[free].falling, found[free].limit, found[free].total) == (True, None, total)
    assert found[free].category == what


@pytest.mark.parametrize(
    "names",
    [
        ["http_requests_total", "http_requests_max"],
        ["request_duration_seconds", "request_duration_seconds_max"],
        ["node_memory_MemFree_bytes", "node_memory_MemTotal_bytes"],
        ["pg_database_size_bytes", "pg_stat_activity_count"],
        ["redis_memory_used_peak_bytes", "redis_memory_max_bytes"],
        ["go_memstats_heap_inuse_bytes", "go_memstats_heap_sys_bytes"],
        ["app_queue_depth", "other_queue_limit"],
        ["up"],
    ],
)
def test_what_only_looks_like_a_pair_is_none(names: list[str]) -> None:
    assert pairs(names) == []


def test_what_root_may_still_use_does_not_count_twice() -> None:
    names = ["node_filesystem_avail_bytes", "node_filesystem_free_bytes", "node_filesystem_size_bytes"]
    assert [pair.used for pair in pairs(names)] == ["node_filesystem_avail_bytes"]
    assert [pair.used for pair in pairs(names[1:])] == ["node_filesystem_free_bytes"]


def test_words_of_a_name() -> None:
    assert words("node_memory_MemAvailable_bytes") == ("node", "memory", "mem", "available", "bytes")
    assert words("app_db_pool_in_use") == ("app", "db", "pool", "in-use")
    assert words("") == ()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"instance": "db:9100", "mountpoint": "/data", "device": "sda"}, "db:9100 /data"),
        ({"instance": "10.0.0.1:80", "namespace": "web", "pod": "shop-1"}, "web shop-1"),
        ({"instance": "pg:9187", "datname": "orders"}, "pg:9187 orders"),
        ({}, ""),
    ],
)
def test_items_are_named_as_people_name_them(labels: dict[str, str], expected: str) -> None:
    assert item(labels) == expected


@given(st.lists(st.text(max_size=40), max_size=30))
def test_no_name_breaks_the_rule(names: list[str]) -> None:
    for pair in pairs(names):
        assert pair.used in names
    for name in names:
        read(name)
        category(name)
