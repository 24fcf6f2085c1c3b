"""What a network is worth: figures with their uncertainty, calibration, errors by place, and a report for people."""
