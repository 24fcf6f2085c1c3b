"""What is done to a journal on a disk that becomes full: each function is run in a process that has a small disk to itself.

python -m tests.edge.journal.full NAME FOLDER
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from edge.journal import FrameRecord, Journal, JournalError, JournalFullError
from tests.edge.journal.frames import alerting, key_of, waiting_names, waiting_sequences


def record_until_full(journal: Journal, prefix: str) -> tuple[list[str], FrameRecord, str]:
    """Record until there is no room: the frames that were acknowledged, the one that was not, and why."""
    names: list[str] = []
    while True:
        frame = alerting(f"{prefix}-{len(names)}")
        try:
            journal.record([frame])
        except JournalFullError as error:
            return names, frame, str(error)
        names.append(frame.key.name)


def leave_no_room(file: Path) -> None:
    """Leave no byte on the file's disk."""
    with file.open("wb", buffering=0) as ballast:
        try:
            for size in (4096, 1):
                while ballast.write(bytes(size)):
                    pass
        except OSError:
            pass


def make_room_while_open(folder: str) -> dict[str, Any]:
    """Child: run into a full disk, see what still works, make room and go on."""
    ballast, path = Path(folder, "ballast"), Path(folder, "journal.db")
    ballast.write_bytes(bytes(300_000))
    journal = Journal(path, "uav-1")
    names, refused, reason = record_until_full(journal, "before")
    leave_no_room(Path(folder, "rest"))
    full: dict[str, Any] = {
        "last_sequence": journal.alerts.last_sequence,
        "waiting": journal.alerts.waiting,
        "sequences": waiting_sequences(journal),
        "outcome_of_refused": journal.outcome_of(refused.key),
        "outcome_of_kept": journal.outcome_of(key_of(names[-1])),
    }
    # The refused transaction left a little room in the write-ahead log, which the first marks may use.
    marked = 0
    try:
        while marked < len(names):
            journal.alerts.deliver([marked + 1])
            marked += 1
    except JournalFullError:
        full["deliver"] = "full"
    full["waiting_after_deliver"], full["sequences_after_deliver"] = journal.alerts.waiting, waiting_sequences(journal)
    Path(folder, "rest").unlink()
    ballast.unlink()
    # The same call may be made again.
    added = journal.record([refused])
    journal.record([alerting("after")])
    journal.alerts.deliver([marked + 1])
    journal_id, last = journal.id, journal.alerts.last_sequence
    journal.close()
    with closing(Journal(path, "uav-1")) as again:
        return {
            "acknowledged": [*names, refused.key.name, "after"],
            "reason": reason,
            "full": full,
            "marked": marked,
            "added": added,
            "last_sequence": last,
            "same_id": again.id == journal_id,
            "waiting": waiting_sequences(again),
            "names": waiting_names(again),
            "outcomes": [again.outcome_of(key_of(name)) for name in [*names, refused.key.name, "after"]],
        }


def make_room_while_closed(folder: str) -> dict[str, Any]:
    """Child: run into a full disk, close there, try to open there, make room and open again."""
    ballast, path = Path(folder, "ballast"), Path(folder, "journal.db")
    ballast.write_bytes(bytes(300_000))
    journal = Journal(path, "uav-1")
    names, _, _ = record_until_full(journal, "before")
    leave_no_room(Path(folder, "rest"))
    journal.close()
    try:
        Journal(path, "uav-1").close()
        opened_full = "worked"
    except JournalError as error:
        opened_full = str(error)
    Path(folder, "rest").unlink()
    ballast.unlink()
    with closing(Journal(path, "uav-1")) as again:
        again.record([alerting("after")])
        return {
            "acknowledged": [*names, "after"],
            "opened_full": opened_full,
            "waiting": waiting_sequences(again),
            "names": waiting_names(again),
        }


def begin_on_a_full_disk(folder: str) -> dict[str, Any]:
    """Child: try to begin a journal where there is no room, then where there is."""
    path = Path(folder, "journal.db")
    leave_no_room(Path(folder, "rest"))
    try:
        Journal(path, "uav-1").close()
        reason = "worked"
    except JournalError as error:
        reason = str(error)
    Path(folder, "rest").unlink()
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("after")])
        return {"reason": reason, "names": waiting_names(journal), "waiting": waiting_sequences(journal)}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
