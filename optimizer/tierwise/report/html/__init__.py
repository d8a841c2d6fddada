"""The report of a run as one self-contained HTML file: no network, no script, readable anywhere.

``read`` takes what a run directory has; each section is a file of its own that samples one part of it
with ``svg`` (charts), ``page`` (tables, the document) and ``markup`` (elements, escaped by
construction).
"""

from tierwise.report.html.report import SECTIONS, report, write_report

__all__ = ["SECTIONS", "report", "write_report"]
