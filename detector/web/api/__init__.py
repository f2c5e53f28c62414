"""What programs speak: the desk as JSON, Prometheus's query API, operations."""
