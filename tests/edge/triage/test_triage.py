"""Which observations become alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from edge.records import Alert, Frame, FrameKey, ModelName, Observation, Prediction, Tile
from edge.triage import Sightings, Triage


def decide(triage: Triage, observation: Observation) -> Alert | None:
    """What is told of a frame of one tile."""
    return next(iter(triage.decide_all((observation,))), None)


def observe(**probabilities: float) -> Observation:
    """An observation with these probabilities."""
    frame = Frame(FrameKey("/in", "a.jpeg", 1, 1), datetime(2026, 11, 21, tzinfo=UTC), 8, 8, np.zeros((8, 8, 3), np.uint8))
    prediction = Prediction(probabilities, ModelName("terrain-damage", 1, "00"), "openvino", "CPU", 0.4)
    return Observation(frame, Tile(0, 0, 8, 8), prediction, None)


@pytest.mark.parametrize("probability", [0.7, 0.700001, 1.0])
def test_a_probability_that_reaches_the_threshold_is_an_alert(probability: float) -> None:
    alert = decide(Triage(["damaged"], 0.7), observe(damaged=probability, undamaged=1 - probability))

    assert alert is not None
    assert (alert.label, alert.confidence) == ("damaged", probability)


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.699999])
def test_a_probability_below_the_threshold_is_none(probability: float) -> None:
    assert decide(Triage(["damaged"], 0.7), observe(damaged=probability, undamaged=1 - probability)) is None


def test_a_label_that_is_no_alert_label_is_never_alerted_about() -> None:
    assert decide(Triage(["damaged"], 0.5), observe(damaged=0.1, undamaged=0.9)) is None


def test_a_low_threshold_alerts_about_a_label_that_is_not_the_most_probable() -> None:
    observation = observe(damaged=0.2, undamaged=0.8)
    alert = decide(Triage(["damaged"], 0.1), observation)

    assert observation.prediction.label == "undamaged"
    assert alert is not None
    assert (alert.label, alert.confidence) == ("damaged", 0.2)


def test_of_several_alert_labels_the_most_probable_is_named() -> None:
    alert = decide(Triage(["flooded", "collapsed"], 0.3), observe(collapsed=0.4, flooded=0.35, undamaged=0.25))

    assert alert is not None
    assert (alert.label, alert.confidence) == ("collapsed", 0.4)


def test_the_probabilities_of_several_alert_labels_are_not_added_up() -> None:
    assert decide(Triage(["flooded", "collapsed"], 0.5), observe(collapsed=0.4, flooded=0.4, undamaged=0.2)) is None


def test_a_threshold_of_zero_alerts_about_everything() -> None:
    assert decide(Triage(["damaged"], 0.0), observe(damaged=0.0, undamaged=1.0)) is not None


def test_an_alert_holds_the_observation_itself() -> None:
    observation = observe(damaged=0.9, undamaged=0.1)
    alert = decide(Triage(["damaged"], 0.5), observation)

    assert alert is not None
    # The journal tells by identity which observation an alert is about.
    assert alert.observation is observation


def test_every_alert_has_an_id_of_its_own() -> None:
    triage, observation = Triage(["damaged"], 0.5), observe(damaged=0.9, undamaged=0.1)
    alerts = [decide(triage, observation) for _ in range(100)]
    ids = {alert.id for alert in alerts if alert is not None}

    assert len(ids) == 100
    assert {UUID(text).version for text in ids} == {7}


def test_ids_may_come_from_elsewhere() -> None:
    alert = decide(Triage(["damaged"], 0.5, Sightings(new_id=lambda: "the next one")), observe(damaged=0.9, undamaged=0.1))

    assert alert is not None
    assert alert.id == "the next one"
