"""Carries out what the ground asks for, as far as the configuration allows it."""

from __future__ import annotations

import logging

from edge.bundle import BundleError
from edge.commands import CommandGate, Refusal
from edge.config import Config, ConfigError
from edge.daemon.pause import Pause
from edge.daemon.pictures import Pictures
from edge.daemon.service import Service
from edge.health import Conditions
from edge.journal import Journal, JournalError, JournalFullError
from edge.messages import (
    CommandMessage,
    ReplyMessage,
    Resend,
    Resume,
    RollbackModel,
    SetThreshold,
    Snapshot,
    rfc3339,
    utc_now,
    uuid7,
)
from edge.messages import Pause as PauseCommand
from edge.model import store_of, trust_of
from edge.text import one_line
from edge.uplink import Uplink

_log = logging.getLogger(__name__)

Result = dict[str, str | int | float | bool | None]

THRESHOLD = "threshold"
"""Under which name the journal keeps a threshold that was set."""

# The thread of the uplink waits for it.
_LOCK_S = 2.0


class CommandError(Exception):
    """A command cannot be carried out; the message is the reason, in one line."""


class Commands:
    """What the ground may have the device do."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        service: Service,
        *,
        pause: Pause,
        pictures: Pictures,
        conditions: Conditions,
    ) -> None:
        self._config = config
        self._journal = journal
        self._service = service
        self._pause = pause
        self._pictures = pictures
        self._conditions = conditions
        self._gate = CommandGate(config.uplink.commands, journal.memory)
        self.uplink: Uplink | None = None

    def carry_out(self, payload: bytes, retained: bool) -> ReplyMessage | None:
        """Judge a command and carry it out.

        Returns:
            The answer; None: nobody can be answered.
        """
        try:
            command = self._gate.admit(payload, retained=retained)
        except JournalFullError as error:
            _log.error("command: not carried out: %s", error)
            return None
        if isinstance(command, Refusal):
            return None if command.id is None else self._reply(command.id, command.name, reason=command.reason)
        _log.warning("command %s: %s", command.id, command.name)
        try:
            result = self._do(command)
        except (CommandError, BundleError, ConfigError, JournalError, OSError) as error:
            _log.error("command %s: %s: %s", command.id, command.name, error)
            return self._reply(command.id, command.name, reason=one_line(error))
        return self._reply(command.id, command.name, result=result)

    def _do(self, command: CommandMessage) -> Result | None:
        """
        Raises:
            CommandError, BundleError, ConfigError, JournalError, OSError: It cannot be done.
        """
        match command:
            case SetThreshold():
                return self._set_threshold(command.args.threshold)
            case PauseCommand() | Resume():
                self._pause.set(paused=isinstance(command, PauseCommand))
                return None
            case Snapshot():
                return self._snapshot()
            case Resend():
                return {"alerts": self._uplink.ask_again(command.args.first, command.args.last)}
            case RollbackModel():
                return {"model": store_of(self._config.model, _LOCK_S).rollback(trust_of(self._config.model)).path.name}

    def _set_threshold(self, threshold: float | None) -> Result:
        self._journal.memory.keep(THRESHOLD, None if threshold is None else repr(threshold))
        self._service.set_threshold(threshold)
        self._conditions.announce()
        return {"threshold": self._service.current.triage.threshold}

    def _snapshot(self) -> Result:
        taken = self._pictures.snapshot()
        if taken is None:
            raise CommandError("there was no frame yet")
        frame, jpeg = taken
        picture = uuid7()
        self._uplink.send_picture(picture, jpeg)
        return {"thumbnail": picture, "frame": frame.key.name, "captured_at": rfc3339(frame.captured_at)}

    @property
    def _uplink(self) -> Uplink:
        if self.uplink is None:
            raise CommandError("the device is not ready yet")
        return self.uplink

    def _reply(
        self,
        command: str,
        name: str | None,
        *,
        reason: str | None = None,
        result: Result | None = None,
    ) -> ReplyMessage:
        return ReplyMessage(
            device=self._config.device,
            id=command,
            name=name,
            at=rfc3339(utc_now()),
            ok=reason is None,
            reason=reason,
            result=result or {},
        )


def kept_threshold(journal: Journal) -> float | None:
    """The threshold that a command has set; None: none has."""
    kept = journal.memory.fact(THRESHOLD)
    return None if kept is None else float(kept)
