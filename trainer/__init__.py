"""Overflight's trainer: from folders of labelled images to a bundle that a device can run. Runs on a workstation."""

import sys

# OpenVINO's converter tells its vendor of every conversion, and anything may import it first: Keras does.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
