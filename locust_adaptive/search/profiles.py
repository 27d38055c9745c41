"""The profiles: how sure an answer is to be, for the time that it takes."""

from __future__ import annotations

from collections.abc import Mapping

from .settings import Settings

STANDARD = "standard"
"""The profile that is the default of `Settings`."""

PROFILES: Mapping[str, Mapping[str, float | int]] = {
    "fast": {"precision": 0.12, "dwells": 4, "soak_s": 20.0},
    STANDARD: {"precision": Settings.precision, "dwells": Settings.dwells, "soak_s": Settings.soak_s},
    "thorough": {"precision": 0.05, "dwells": 12, "soak_s": 60.0},
}
"""Fields of `Settings` by the name of the profile, quickest first. What each comes to is measured:
docs/reference/profiles.md."""
