"""What a drone writes into a photo's XMP about itself and its camera: place, height, angles, accuracy.

DJI's fields are described in the manuals of its drones (Mavic 3E, list of the XMP fields): all angles are against north and
the horizon, also those of the gimbal. Parrot's fields of the same kind are named CameraYawDegree and so on. Pix4D's namespace
counts pitch from straight down (support.pix4d.com, Specifications of XMP camera tags; Yaw, Pitch, Roll).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edge.position.tags import exif_number, exif_text, xmp_number
from edge.records import Attitude

_T = TypeVar("_T")

# A place in XMP has more digits than that in EXIF and is believed where it is the same place but for them, some 11 m.
_SAME_PLACE_DEG = 1e-4

# Cameras that cannot be turned sideways, and whose gimbal yaw is told wrong by 40 to 55 degrees (support.pix4d.com,
# Incorrectly oriented reconstructions): Mavic 2 Pro, Air 2S, Air 3.
_UNRELIABLE_YAW = frozenset({"L1D-20C", "FC3411", "FC8282", "FC8284"})
_UNRELIABLE_YAW_DEG = 20.0

# Autel writes its own angles under Pix4D's names, in some models by another count (EVO Lite 640T, which calls itself "Camera").
_NOT_AS_PIX4D = ("autel", "camera")


@dataclass(frozen=True, slots=True)
class FlightTags:
    """What XMP says of the flight. None: nothing, or nothing that can be.

    Attributes:
        place: Latitude and longitude, degrees.
        altitude_m: Above mean sea level.
        is_ellipsoidal: The altitude of this photo, in EXIF too, is that above the ellipsoid.
        height_m: Above the place of take-off.
        accuracy_m: Horizontal, one standard deviation.
        refused: What was passed over, and why.
    """

    place: tuple[float, float] | None = None
    altitude_m: float | None = None
    is_ellipsoidal: bool = False
    height_m: float | None = None
    attitude: Attitude | None = None
    camera: Attitude | None = None
    accuracy_m: float | None = None
    refused: tuple[str, ...] = ()


def read_flight_tags(xmp: Mapping[str, str], exif: Mapping[str, Any]) -> FlightTags:
    """All that XMP says of the flight; a part that cannot be costs that part alone."""
    refused: list[str] = []

    def attempt(read: Callable[[], _T | None]) -> _T | None:
        try:
            return read()
        except ValueError as error:
            refused.append(str(error))
            return None

    # By real-time kinematics DJI's altitude is that above the ellipsoid, which differs from sea level by up to 100 m.
    is_ellipsoidal = xmp.get("AltitudeType", "") == "RtkAlt" or xmp.get("RtkFlag", "0") != "0"
    attitude = attempt(lambda: _attitude(xmp, "Flight{}Degree") or _attitude(xmp, "Drone{}Degree"))
    return FlightTags(
        place=attempt(lambda: _place(xmp)),
        altitude_m=None if is_ellipsoidal else attempt(lambda: xmp_number(xmp, "AbsoluteAltitude")),
        is_ellipsoidal=is_ellipsoidal,
        height_m=attempt(lambda: _height(xmp)),
        attitude=attitude,
        camera=attempt(lambda: _camera(xmp, exif, attitude)),
        accuracy_m=attempt(lambda: _accuracy(xmp)),
        refused=tuple(refused),
    )


def refine_place(latitude: float, longitude: float, place: tuple[float, float] | None) -> tuple[float, float]:
    """The place of EXIF, or the same with the digits that only XMP has."""
    if place is None or max(abs(place[0] - latitude), abs(place[1] - longitude)) > _SAME_PLACE_DEG:
        return latitude, longitude
    return place


def _place(xmp: Mapping[str, str]) -> tuple[float, float] | None:
    """DJI spells its longitude in three ways."""
    for north, east in (("GpsLatitude", "GpsLongitude"), ("GpsLatitude", "GpsLongtitude"), ("Latitude", "Longitude")):
        latitude, longitude = xmp_number(xmp, north), xmp_number(xmp, east)
        if latitude is not None and longitude is not None:
            return latitude, longitude
    return None


def _height(xmp: Mapping[str, str]) -> float | None:
    name = "RelativeAltitude" if "RelativeAltitude" in xmp else "AboveGroundAltitude"
    height_m = xmp_number(xmp, name)
    if height_m is not None and height_m <= 0:
        raise ValueError(f"{name} {height_m:g} m is not above the ground")
    return height_m


def _accuracy(xmp: Mapping[str, str]) -> float | None:
    """Of the two directions the worse."""
    east_m, north_m = xmp_number(xmp, "RtkStdLon"), xmp_number(xmp, "RtkStdLat")
    if east_m is None or north_m is None or min(east_m, north_m) < 0:
        return None
    return max(east_m, north_m)


def _attitude(xmp: Mapping[str, str], pattern: str) -> Attitude | None:
    """Three angles, or none."""
    yaw, pitch, roll = (xmp_number(xmp, pattern.format(axis)) for axis in ("Yaw", "Pitch", "Roll"))
    if yaw is None or pitch is None or roll is None:
        return None
    return _checked(yaw, pitch, roll, pattern)


def _checked(yaw: float, pitch: float, roll: float, pattern: str) -> Attitude:
    for axis, angle, limit in (("Yaw", yaw, 360), ("Pitch", pitch, 180), ("Roll", roll, 180)):
        if abs(angle) > limit:
            raise ValueError(f"{pattern.format(axis)} {angle:g} is not within -{limit}..{limit}")
    return Attitude(yaw, pitch, roll)


def _camera(xmp: Mapping[str, str], exif: Mapping[str, Any], attitude: Attitude | None) -> Attitude | None:
    for pattern in ("Gimbal{}Degree", "Camera{}Degree"):
        camera = _attitude(_with_yaw(xmp, exif, pattern.format("Yaw")), pattern)
        if camera is not None:
            return _reliable(camera, attitude, exif)
    return _camera_as_pix4d(xmp, exif)


def _with_yaw(xmp: Mapping[str, str], exif: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """The same with the yaw that EXIF has of the picture, where XMP has none and EXIF's is against true north."""
    direction = exif_number(exif, "GPS GPSImgDirection")
    if xmp.get(name) or direction is None or exif_text(exif, "GPS GPSImgDirectionRef").upper() != "T":
        return xmp
    return {**xmp, name: repr(direction)}


def _reliable(camera: Attitude, aircraft: Attitude | None, exif: Mapping[str, Any]) -> Attitude:
    model = exif_text(exif, "Image Model").upper()
    if model in _UNRELIABLE_YAW and aircraft is not None:
        apart = abs((camera.yaw_deg - aircraft.yaw_deg + 180) % 360 - 180)
        if apart > _UNRELIABLE_YAW_DEG:
            raise ValueError(f"GimbalYawDegree is {apart:.0f} degrees off the aircraft's, to which a {model} cannot turn")
    return camera


def _camera_as_pix4d(xmp: Mapping[str, str], exif: Mapping[str, Any]) -> Attitude | None:
    """Angles that are 0 where the camera looks straight down: those of an aircraft that it would be fixed below."""
    from edge.position.rotation import attitude_of, mounted

    attitude = _attitude(xmp, "{}")
    if attitude is None:
        return None
    if exif_text(exif, "Image Make").lower().startswith(_NOT_AS_PIX4D):
        raise ValueError("Pitch is by no known count")
    # By the specification such a camera looks backwards: it means something else.
    if attitude.pitch_deg < -45:
        raise ValueError(f"Pitch {attitude.pitch_deg:g} is not counted from straight down")
    return attitude_of(mounted(attitude, Attitude(0.0, -90.0, 0.0)))
