"""The demonstration: a rendered town, a flight over it, and the daemon at work on one machine."""
