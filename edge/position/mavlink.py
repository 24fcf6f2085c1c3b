"""Stand-in."""


class MavlinkStream:
    name = "mavlink"
    is_recording = False

    @classmethod
    def parse(cls, argument):
        raise ValueError
