"""The notes are checked in 60 digits: without mpmath there is nothing to hold them against."""

import pytest

pytest.importorskip("mpmath")
