"""Prometheus's rules over the store: PromQL, recording and alerting rules, their templates, and the query API.

In: samples in the store and event time. Out: recorded samples, and one symptom per alert instance.
"""
