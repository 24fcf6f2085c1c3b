"""From a trained network to the formats that runtimes read, measured."""

from trainer.export.record import EXPORT_RECORD, ExportError, ExportRecord

__all__ = ["EXPORT_RECORD", "ExportError", "ExportRecord"]
