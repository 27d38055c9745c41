"""What an import has to say besides its records."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Notes:
    """Filled by an importer while it reads, complete when it is through."""

    requests: int = 0
    time_quality: str | None = None  # "none" or "send_time" when the times are not those of the arrivals
    dropped: Counter[str] = field(default_factory=Counter)  # what was left out ("header cookie") and how often
