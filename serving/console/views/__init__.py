"""From readings to what a page shows, as pure functions and frozen values. No I/O, no HTML."""
