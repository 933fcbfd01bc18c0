"""Numbers in words."""

_BYTES = ("bytes", "kB", "MB", "GB", "TB")


def counted(number: int, noun: str) -> str:
    """A number and what it counts: "1 file", "2,000 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A long time: "40 seconds", "3 minutes", "1 hour 20 min"."""
    if seconds < 60:
        return counted(max(1, round(seconds)), "second")
    if seconds < 3600:
        return counted(round(seconds / 60), "minute")
    return f"{counted(int(seconds // 3600), 'hour')} {round(seconds % 3600 / 60)} min"


def short_time(seconds: float) -> str:
    """A short time: "40 ms", "1.2 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def size(n_bytes: float) -> str:
    """A size with its unit, in powers of 1000: "420 kB", "1.2 GB"."""
    unit = 0
    while n_bytes >= 999.5 and unit < len(_BYTES) - 1:
        n_bytes, unit = n_bytes / 1000, unit + 1
    return f"{n_bytes:.0f} {_BYTES[unit]}" if unit < 2 else f"{n_bytes:.1f} {_BYTES[unit]}"
