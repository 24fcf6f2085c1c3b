"""The model that serves: the best at the start, and in flight the one that is activated, taken over between two batches."""

from __future__ import annotations

import pytest

from edge.bundle import SHIPPED, Bundle
from edge.inference import EngineError
from edge.inference.engine import Engine
from tests.conftest import wait_for
from tests.edge.bundle.bundles import KEY, TRUST
from tests.edge.daemon.conftest import BRIGHT, DARK, Device, digest_of, fly, serves, versions, watching
from tests.edge.triage.observing import observe, tell

# The model to begin with


def test_without_a_store_the_shipped_bundle_serves(device: Device) -> None:
    device.model["store"] = ""
    models = device.start()
    assert models.service.current.bundle.is_shipped
    models.follow()
    assert device.conditions.reasons() == []


def test_where_nothing_is_installed_the_shipped_bundle_serves_and_the_first_that_is_takes_over(device: Device) -> None:
    models = device.start()
    assert models.service.current.bundle.is_shipped
    assert not device.store.root.exists()
    device.install(1)
    models.follow()
    assert serves(models) == ("town", 1)
    assert device.conditions.reasons() == []


def test_active_bundle_serves(device: Device) -> None:
    device.install(1)
    device.install(2)
    assert serves(device.start()) == ("town", 2)
    assert device.conditions.reasons() == []


def test_where_the_active_bundle_is_damaged_the_previous_one_serves_and_the_status_says_so(device: Device) -> None:
    device.install(1)
    active = device.install(2)
    (active / "ir" / "model.bin").write_bytes(b"")
    assert serves(device.start()) == ("town", 1)
    assert device.reason == f"model: bundle {active}: ir/model.bin has 0 bytes, the manifest says 48"
    assert device.store.active() == active


def test_where_the_active_bundle_fails_its_self_test_the_previous_one_serves_and_the_store_goes_back(device: Device) -> None:
    good = device.install(1)
    bad = device.install(2, right=False)
    models = device.start()
    assert serves(models) == ("town", 1)
    assert device.reason.startswith("model: town 2: no engine works: openvino on CPU gives 0.200 for 'damaged' of selftest/")
    # It is tried once more: the machine may have had no memory left.
    assert device.store.active() == bad
    assert device.store.refusal(digest_of(bad)) is None
    with watching(models):
        wait_for(lambda: device.store.active() == good)
    assert str(device.store.refusal(digest_of(bad))).startswith(
        "no engine works: openvino on CPU gives 0.200 for 'damaged' of "
    )
    assert serves(models) == ("town", 1)
    assert device.reason.startswith("model: town 2: ")


def test_where_no_installed_bundle_works_the_shipped_one_serves(device: Device) -> None:
    for version in (1, 2):
        device.install(version, right=False)
    models = device.start()
    assert models.service.current.bundle.path == SHIPPED
    with watching(models):
        wait_for(lambda: device.store.active() is None)
    models.follow()
    assert models.service.current.bundle.path == SHIPPED
    assert device.reason.startswith("model: town 1: no engine works: ")


def test_where_no_engine_works_at_all_no_bundle_is_blamed(device: Device) -> None:
    active = device.install(1)
    device.model["devices"] = ["NPU"]
    with pytest.raises(EngineError, match="no engine works: OpenVINO on NPU: "):
        device.start()
    assert device.store.active() == active
    assert device.store.refusal(Bundle.open(active, TRUST).model.sha256) is None


# The model that is activated


def test_activated_bundle_takes_over_between_two_batches(device: Device) -> None:
    device.install(1)
    models = device.start()
    before = models.service.current
    (in_hand,) = before.classifier.start([DARK, BRIGHT])
    device.install(2)
    # Nobody looked yet.
    assert models.service.current is before
    models.follow()
    assert serves(models) == ("town", 2)
    assert models.service.current.classifier.engine.device == "CPU"
    # What was begun with one model comes to its end with it.
    assert versions(in_hand.predictions()) == {1}
    assert versions(fly(models, DARK, BRIGHT)) == {2}
    assert device.conditions.reasons() == []


def test_store_is_looked_at_until_the_daemon_stops(device: Device) -> None:
    models = device.start()
    with watching(models):
        device.install(1)
        wait_for(lambda: serves(models) == ("town", 1))


def test_rollback_by_command_is_followed(device: Device) -> None:
    for version in (1, 2):
        device.install(version)
    models = device.start()
    device.store.rollback(TRUST)
    models.follow()
    assert serves(models) == ("town", 1)
    device.store.rollback(TRUST)
    models.follow()
    assert serves(models) == ("town", 2)
    assert device.conditions.reasons() == []


def test_bundle_that_fails_its_self_test_twice_does_not_take_over_and_is_not_tried_again(device: Device) -> None:
    good = device.install(1)
    models = device.start()
    bad = device.install(2, right=False)
    models.follow()
    assert serves(models) == ("town", 1)
    assert versions(fly(models, DARK)) == {1}
    assert device.reason.startswith("model: town 2: no engine works: openvino on CPU gives 0.200 for 'damaged' of selftest/")
    assert device.store.active() == bad
    with watching(models):
        wait_for(lambda: device.store.active() == good)
    assert device.store.refusal(digest_of(bad)) is not None
    models.follow()
    assert device.reason.startswith("model: town 2: ")
    # A restart serves what served.
    again = device.start()
    assert serves(again) == ("town", 1)


def test_bundle_that_can_be_loaded_when_it_is_tried_once_more_takes_over(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.install(1)
    models = device.start()
    with monkeypatch.context() as patched:
        # A machine without memory cannot be had here.
        patched.setattr("edge.inference.devices.OpenVinoEngine", _no_memory)
        device.install(2)
        models.follow()
    assert serves(models) == ("town", 1)
    assert device.reason == "model: town 2: no engine works: no memory is left"
    with watching(models):
        wait_for(lambda: serves(models) == ("town", 2))
    assert device.conditions.reasons() == []


def _no_memory(*_: object) -> Engine:
    raise EngineError("no memory is left")


def test_reason_is_gone_with_the_next_model_that_works(device: Device) -> None:
    device.install(1)
    models = device.start()
    device.install(2, right=False)
    models.follow()
    assert device.reason.startswith("model: town 2: ")
    device.install(3)
    models.follow()
    assert serves(models) == ("town", 3)
    assert device.conditions.reasons() == []


@pytest.mark.parametrize("fault", ["withdrawn key", "altered file", "wrong signature"])
def test_bundle_that_cannot_be_opened_does_not_take_over_and_the_store_is_not_touched(device: Device, fault: str) -> None:
    first = device.install(1, proven=True)
    models = device.start()
    active = device.install(2)
    if fault == "withdrawn key":
        (device.keys / "revoked").write_text(KEY.id)
    elif fault == "altered file":
        xml = active / "ir" / "model.xml"
        xml.write_bytes(xml.read_bytes().replace(b"Subtract", b"Multiply"))
    else:
        (active / "manifest.sig").write_bytes((first / "manifest.sig").read_bytes())
    before = sorted(device.store.root.rglob("*"))
    models.follow()
    assert serves(models) == ("town", 1)
    assert versions(fly(models, DARK)) == {1}
    assert {
        "withdrawn key": "which is withdrawn",
        "altered file": "ir/model.xml is altered",
        "wrong signature": "signature of this manifest.json",
    }[fault] in device.reason
    assert device.store.active() == active
    assert sorted(device.store.root.rglob("*")) == before


def test_bundle_that_can_be_opened_after_all_takes_over_by_itself(device: Device) -> None:
    device.install(1)
    models = device.start()
    active = device.install(2)
    weights = (active / "ir" / "model.bin").read_bytes()
    (active / "ir" / "model.bin").write_bytes(b"")
    models.follow()
    assert serves(models) == ("town", 1)
    # A new copy of the same bundle lies where the damaged one did: the link says nothing of it.
    (active / "ir" / "model.bin").write_bytes(weights)

    def is_taken() -> bool:
        models.follow()
        return serves(models) == ("town", 2)

    wait_for(is_taken)
    assert device.conditions.reasons() == []


def test_reason_is_gone_when_the_store_is_brought_back_to_what_serves(device: Device) -> None:
    device.install(1)
    models = device.start()
    active = device.install(2)
    (active / "ir" / "model.bin").write_bytes(b"")
    models.follow()
    assert "ir/model.bin has 0 bytes" in device.reason
    device.store.rollback(TRUST)
    models.follow()
    assert serves(models) == ("town", 1)
    assert device.conditions.reasons() == []


def test_unsigned_bundle_serves_only_where_that_is_allowed_and_the_status_says_so(device: Device) -> None:
    device.model["allow_unsigned"] = True
    device.install(1, key=None)
    models = device.start()
    assert serves(models) == ("town", 1)
    assert device.reason == "signature: town 1 is not signed, and serves because model.allow_unsigned is set"
    device.install(2)
    models.follow()
    assert serves(models) == ("town", 2)
    assert device.conditions.reasons() == []

    device.model["allow_unsigned"] = False
    device.install(3, key=None)
    again = device.start()
    assert serves(again) == ("town", 2)
    assert "manifest.sig is missing" in device.reason


def test_an_alert_stays_open_when_another_model_serves(device: Device) -> None:
    device.triage = {"merge_m": 50}
    device.install(1, proven=True)
    service = device.start().service
    (first,) = tell(service.current.triage, [observe(0)])
    other = service.make(service.current.bundle)
    (second,) = tell(other.triage, [observe(1)])
    other.classifier.close()

    assert other.triage is not service.current.triage
    assert (second.id, second.count, second.revision) == (first.id, 2, 1)
