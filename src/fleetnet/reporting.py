"""What long work calls to report how far it is: the types of those callbacks, for all rooms."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Called with a line about what is being done."""
Warn = Callable[[str], object]
"""Called with a line about something that went wrong and does not end the work."""
Advance = Callable[[int], None]
"""Called with how many more steps are done, such as images."""
Begin = Callable[[str, int], Advance]
"""Called with what begins and how many steps it has; returns what its steps are reported to."""
Fetched = Callable[[int, int], None]
"""Called with how many bytes of a download are here, and how many it has in all (0 if unknown)."""
