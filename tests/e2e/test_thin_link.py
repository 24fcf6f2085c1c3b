"""A thin link after an outage: what matters most goes first, and never more than the link may carry."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Mosquitto, Overflight, wait_for
from tests.counting_link import CountingLink
from tests.e2e.conftest import Ground, count, rows

_BACKLOG = 60
_BYTES_PER_S = 6_000
_THUMBNAIL_BYTES = 1_500
# A link may carry a second's worth at once after a pause, and two connections begin with their greetings and last wills.
_BURST_BYTES = _BYTES_PER_S + 4_000


def fly(overflight: Overflight, frame: bytes, numbers: range) -> None:
    """Write frames, and wait until their alerts are decided."""
    for number in numbers:
        (overflight.inbox / f"{number:03}.jpg").write_bytes(frame)
    wait_for(lambda: count(overflight.journal, "alerts") == numbers.stop, 20)


def test_after_an_outage_alerts_come_newest_first_before_pictures_and_these_before_logs_at_the_capped_rate(
    overflight: Overflight, mosquitto: Mosquitto, listen: Callable[..., Ground], make_jpeg: Callable[..., bytes]
) -> None:
    overflight.config["triage"] = {"threshold": 0.0}
    overflight.config["capture"]["settle_s"] = 0.02
    ground = listen(mosquitto.port)
    with CountingLink(mosquitto.port) as link:
        overflight.config["uplink"] = {
            "url": f"mqtt://127.0.0.1:{link.port}",
            "max_bytes_per_s": _BYTES_PER_S,
            "thumbnail_bytes": _THUMBNAIL_BYTES,
            "reconnect_max_s": 0.2,
            "log_level": "warning",
        }
        link.down()
        with overflight.running("run"):
            fly(overflight, make_jpeg(width=256, height=256), range(_BACKLOG))
            (overflight.inbox / "broken.jpg").write_bytes(b"no picture")
            wait_for(lambda: count(overflight.journal, "frames WHERE outcome = 1") == 1)
            assert count(overflight.journal, "thumbnails") == _BACKLOG
            link.up()
            wait_for(lambda: len(ground.alerts) >= _BACKLOG // 4, 20)
            fly(overflight, make_jpeg(1, width=256, height=256), range(_BACKLOG, _BACKLOG + 1))
            wait_for(lambda: any("broken.jpg" in log["text"] for log in ground.logs), 60)
    kinds = [kind for kind, _ in ground.order]
    alerts = [sequence for kind, sequence in ground.order if kind == "alert"]
    new = _BACKLOG + 1
    # What is under way when the new one is decided comes before it, and much of the backlog after it.
    assert _BACKLOG // 4 <= alerts.index(new) < _BACKLOG * 3 // 4
    assert [sequence for sequence in alerts if sequence != new] == list(range(_BACKLOG, 0, -1))
    last_alert = len(kinds) - 1 - kinds[::-1].index("alert")
    last_picture = len(kinds) - 1 - kinds[::-1].index("thumbnail")
    assert kinds.count("thumbnail") == new
    assert last_alert < kinds.index("thumbnail")
    assert last_picture < kinds.index("log")
    # The ground must know that there is a backlog.
    assert kinds.index("status") < last_alert
    for seconds in (1, 3, 10):
        assert link.most_bytes(seconds) <= seconds * _BYTES_PER_S + _BURST_BYTES
    assert rows(overflight.journal, "SELECT count(*) FROM alerts WHERE delivered = 0") == [(0,)]
