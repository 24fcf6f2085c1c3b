"""Stand-in."""


class NmeaStream:
    name = "nmea"
    is_recording = False

    @classmethod
    def parse(cls, argument):
        raise ValueError
