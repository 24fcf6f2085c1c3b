"""Stand-in."""


class GpsdStream:
    name = "gpsd"
    is_recording = False

    @classmethod
    def parse(cls, argument):
        raise ValueError
