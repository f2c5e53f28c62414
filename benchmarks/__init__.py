"""Speed and quality, measured against data and peers in the same run; never part of the tests."""
