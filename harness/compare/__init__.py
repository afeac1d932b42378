"""Two sides measured in turn, in one session: is the head slower than the base, or less accurate?"""

from __future__ import annotations
