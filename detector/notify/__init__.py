"""The last step to people: claim what the outbox owes, word it, hand it to a channel, settle.

``messages`` turns a ticket into text (pure), ``channels`` speak to the world (one file each), ``deliver`` drives one
isolated worker per channel, ``heartbeat`` tells an outside watchdog that all of this still works.
"""
