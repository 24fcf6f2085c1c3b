"""Kills processes that record and deliver, at random moments, and looks each time whether the journal has what it acknowledged.

A program of its own, because it forks: ``python -m tests.edge.journal.killed FOLDER COUNT``. Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path

from edge.journal import Journal
from tests.edge.journal.scenario import check, frame

# Each time all that is in the journal is read, so that a new one is begun before it is large.
KILLS_PER_JOURNAL = 50
LONGEST_LIFE_S = 0.06


def main(folder: Path, count: int) -> None:
    """Kill as many processes."""
    chance = random.Random(5)
    seen: Counter[str] = Counter()
    for number in range(0, count, KILLS_PER_JOURNAL):
        home = folder / str(number)
        home.mkdir()
        kill(home, min(KILLS_PER_JOURNAL, count - number), chance, seen)
    print(json.dumps(seen))


def kill(home: Path, count: int, chance: random.Random, seen: Counter[str]) -> None:
    """Let one process after the other work on one journal until it is killed."""
    path, log = home / "journal.db", home / "notes"
    log.touch()
    for run in range(count):
        process = os.fork()
        if process == 0:
            work(path, log, random.Random(run))
        time.sleep(chance.uniform(0.0, LONGEST_LIFE_S))
        os.kill(process, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert ended == -signal.SIGKILL, ended
        notes = log.read_text().splitlines()
        # The next run goes on behind the number of this frame, which has an alert.
        extra = 3 * (last_frame(notes) // 3 + 1)
        while extra % 7 == 1:
            extra += 3
        kept = check(path, notes, power_cut=False, extra=extra)
        note(log, f"begin record {extra}")
        note(log, f"done record {extra}")
        seen["killed"] += 1
        seen["in the midst"] += bool(notes) and notes[-1].startswith("begin")
        seen["frames"] += len(kept.frames) if run == count - 1 else 0
        seen["alerts"] += len(kept.alerts) if run == count - 1 else 0


def work(path: Path, log: Path, chance: random.Random) -> None:
    """Child: record and deliver for ever."""
    try:
        number = last_frame(log.read_text().splitlines()) + 1
        with closing(Journal(path, "uav-1")) as journal:
            note(log, f"opened {journal.id}")
            while True:
                frames = range(number, number + chance.randint(1, 4))
                words = " ".join(map(str, frames))
                note(log, f"begin record {words}")
                journal.record([frame(each) for each in frames])
                note(log, f"done record {words}")
                number = frames[-1] + 1
                if journal.alerts.last_sequence and chance.random() < 0.5:
                    sequences = sorted({chance.randint(1, journal.alerts.last_sequence) for _ in range(3)})
                    words = " ".join(map(str, sequences))
                    note(log, f"begin deliver {words}")
                    journal.alerts.deliver(sequences)
                    note(log, f"done deliver {words}")
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
        os._exit(1)


def note(log: Path, text: str) -> None:
    """Add a line to the notes: written at once, or not at all."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def last_frame(notes: list[str]) -> int:
    """The highest number of a frame that was recorded, or was to be; -1 before the first."""
    return max((int(line.split()[-1]) for line in notes if line.startswith("begin record")), default=-1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
