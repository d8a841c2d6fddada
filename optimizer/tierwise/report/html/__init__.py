"""The report of a run as one self-contained HTML file: no network, no script, readable anywhere.

``page`` lists the sections. A section is a builder (in ``results``, ``explanations`` or
``record``) that computes a typed context from the run directory, and a template of the same
name in ``templates/sections`` that shows it. Charts are typed series, drawn by ``report.charts``.
"""

from tierwise.report.html.page import SECTION_GROUPS, report, write_report
