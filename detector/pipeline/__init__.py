"""The staircase: findings, alerts, reports and people's acts become decisions, and decisions one transaction."""

from detector.pipeline.pipeline import NotAllowed, Pipeline, StorageError, Telling
from detector.pipeline.policy import Busy, NoSuchTicket, Policy

__all__ = ["Busy", "NoSuchTicket", "NotAllowed", "Pipeline", "Policy", "StorageError", "Telling"]
