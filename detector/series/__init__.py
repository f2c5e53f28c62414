"""The series room: labels, rings, journal, snapshot. Heart-thread only; no locks, no asyncio, no clock."""
