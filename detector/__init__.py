"""Proactive incident detector: metrics and alerts in, one early incident per cause out."""
