"""Brings the public data sets that the readers ``harvey:`` and ``haiti:`` read."""

from trainer.fetch.fetch import Fetched, FetchError, fetch
from trainer.fetch.sets import SETS, PublicSet

__all__ = ["SETS", "FetchError", "Fetched", "PublicSet", "fetch"]
