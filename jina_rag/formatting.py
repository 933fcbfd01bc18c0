"""Numbers and names as people read them, on the command line and in the app."""


def counted(count: int, noun: str) -> str:
    """A number and what it counts: "1 file", "2,000 files"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """A length of time: "0.4 s", "42 s", "5 min", "1 h 20 min"."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def file_size(n_bytes: float) -> str:
    """A size with its unit, in powers of 1000 as disks are sold."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def escaped(text: str) -> str:
    r"""A text that may have file names with bytes that are no UTF-8, with each of these as `\xe9`."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, as Windows allows it
        return text.encode("utf-8", "backslashreplace").decode()
