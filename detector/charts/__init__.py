"""The picture of a symptom: one Vega-Lite specification for page, message and report, drawn in a process of its own.

``specs`` is pure (symptom in, specification and alt text out), ``render`` draws (SVG for pages, PNG for messages).
"""
