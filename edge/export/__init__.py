"""What a journal says of a flight, for people and for other programs: all results as a table, and the flight in numbers."""

from edge.export.errors import ExportError
from edge.export.export import export
from edge.export.report import Report, UnknownRunError, report
from edge.export.table import report_lines

__all__ = ["ExportError", "Report", "UnknownRunError", "export", "report", "report_lines"]
