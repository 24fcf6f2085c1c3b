"""How large the image areas of cameras are that fly, for photos that tell their focal length in millimetres only.

A photo is cut out of that area along one side at most: a frame of 16:9 of a sensor of 4:3 has its full width. The sizes are
the sensor's pixel pitch times its pixels. A camera is here only if the focal length that this leads to is within 2 % of what
the maker states as angle of view, or writes as calibrated focal length; some round theirs, such as Mavic Mini and Air 2S.
"""

from __future__ import annotations

_TYPE_1_2_3 = (6.20, 4.65)  # 4000 × 3000 pixels of 1.55 micrometres
_TYPE_1 = (13.13, 8.755)  # 5472 × 3648 of 2.4
_FOUR_THIRDS = (17.42, 13.05)  # 5280 × 3956 of 3.3
_FULL_FRAME = (35.9, 24.0)

IMAGE_AREA_MM = {
    "FC300C": _TYPE_1_2_3,  # Phantom 3 Standard
    "FC300S": _TYPE_1_2_3,  # Phantom 3 Advanced
    "FC300X": _TYPE_1_2_3,  # Phantom 3 Professional
    "FC330": _TYPE_1_2_3,  # Phantom 4
    "FC350": _TYPE_1_2_3,  # Zenmuse X3
    "FC220": _TYPE_1_2_3,  # Mavic Pro
    "FC6310": _TYPE_1,  # Phantom 4 Pro
    "FC6310S": _TYPE_1,
    "FC6310R": _TYPE_1,  # Phantom 4 RTK
    "FC6510": _TYPE_1,  # Zenmuse X4S
    "L1D-20C": _TYPE_1,  # Mavic 2 Pro
    "FC550": (17.28, 12.96),  # Zenmuse X5: 4608 × 3456 of 3.75
    "FC6520": _FOUR_THIRDS,  # Zenmuse X5S
    "L2D-20C": _FOUR_THIRDS,  # Mavic 3
    "M3E": _FOUR_THIRDS,  # Mavic 3 Enterprise
    "S.O.D.A.": _TYPE_1,  # senseFly
    "ILCE-6000": (23.5, 15.6),
    "DSC-RX1RM2": _FULL_FRAME,
    "ILCE-7RM2": _FULL_FRAME,
    "DSC-WX220": (6.17, 4.63),  # 4896 × 3672 of 1.26
}
"""Width and height, millimetres, by the Model that EXIF has, in capitals."""
