"""Values as Excel shows them: number format codes of ECMA-376, part 1, section 18.8.31."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from functools import cached_property, lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<break>;)|"(?P<quoted>[^"]*)"?|\\(?P<escaped>.?)|(?P<padding>[_*].?)|\[\$(?P<currency>[^\]-]*)[^\]]*\]"""
    r"""|\[(?P<bracket>[^\]]*)\]|(?P<general>general)|(?P<exponent>e[+-])|(?P<digit>[0#?])|(?P<point>\.)"""
    r"""|(?P<comma>,)|(?P<slash>/)|(?P<value>@)|(?P<percent>%)|(?P<bare>.)""",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN = frozenset(("bare", "currency", "escaped", "percent", "quoted", "slash"))
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?\d+(?:\.\d*)?)")
_COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}
_USUAL_DIGITS = re.compile(r"(#*0*|#*,#*0?)(?:\.(0*)(#*))?")
"""In tokens from the first digit to the last: no text between them, no zeros that would have to be grouped."""
_MAX_CODE = 255  # characters; Excel takes no longer ones
_EXACT = Context(prec=1000, rounding=ROUND_HALF_UP)


class _Token(NamedTuple):
    kind: str
    text: str


class _Pattern(NamedTuple):
    """Places for digits that nothing stands between: what is around them, and how many there are at least and at most.

    Attributes:
        before: What is shown before the number.
        after: What is shown behind it.
        is_grouped: Whether commas stand between thousands.
        n_zeros: How many digits the whole part has at least.
        n_decimals: How many decimals there are at least.
        unit: The last decimal that may be shown.
        exponent: The power of ten that the number is multiplied by.
    """

    before: str
    after: str
    is_grouped: bool
    n_zeros: int
    n_decimals: int
    unit: Decimal
    exponent: int


@dataclass(frozen=True)
class _Section:
    """What one of the parts between semicolons says."""

    tokens: Sequence[_Token]
    condition: re.Match[str] | None

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of its tokens."""
        return frozenset(token.kind for token in self.tokens)

    @cached_property
    def pattern(self) -> _Pattern | None:
        """Its digits, if they are of the usual form."""
        return _pattern(self.tokens)


def format_value(value: object, code: str) -> str | None:
    """What a cell shows.

    Dates and times are written as in ISO 8601, as far as the format shows them, so that nobody has to guess which is
    the day and which the month. Numbers have a point before decimals and commas between thousands, as the codes do.

    Args:
        value: As openpyxl gives it.
        code: The cell's number format, such as `#,##0.00 "€"`.

    Returns:
        The text; None if the code means something that is not known here, such as a fraction.
    """
    if isinstance(value, str):
        return value if code == "General" else _text(value, _sections(code))
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return plain_number(value) if code == "General" else _number(value, _sections(code))
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, time):
        return _time(value)
    return _date(value, _sections(code)) if isinstance(value, date) else _text(str(value), _sections(code))


def plain_number(value: float) -> str:
    """A number with the 15 digits that Excel keeps."""
    return format(value, ".15g") if isinstance(value, float) else str(value)


@lru_cache(maxsize=256)
def _sections(code: str) -> Sequence[_Section]:
    """The parts of a format: for positive and negative numbers, zero, and text, unless they have conditions."""
    parts: list[list[_Token]] = [[]]
    for found in _TOKEN.finditer(code[:_MAX_CODE]):
        kind = found.lastgroup or "bare"
        if kind == "break":
            parts.append([])
        else:
            parts[-1].append(_Token(kind, found[kind]))
    brackets = ([_CONDITION.fullmatch(token.text) for token in part if token.kind == "bracket"] for part in parts)
    conditions = (next(filter(None, found), None) for found in brackets)
    return [_Section(part, condition) for part, condition in zip(parts, conditions, strict=True)]


def _number(value: float, sections: Sequence[_Section]) -> str | None:
    section = _section_for(value, sections)
    if not math.isfinite(value) or not section.tokens:  # an empty section hides what the cell has
        return plain_number(value)
    has_own_section = section is not sections[0] and not section.condition
    sign = "-" if value < 0 and not has_own_section else ""
    if section.kinds & {"general", "value"}:
        return sign + _with_literals(section, plain_number(abs(value)))
    if section.kinds >= {"slash", "digit"}:
        return None
    amount = Decimal(plain_number(abs(value)))
    if section.pattern:
        text: str | None = _filled_in(section.pattern, amount)
    else:
        with localcontext(_EXACT):
            amount *= 100 ** sum(token.kind == "percent" for token in section.tokens)
            text = _scientific(section, amount) if "exponent" in section.kinds else _digits(section.tokens, amount)
    if text is None:
        return None
    return sign * any(digit in text for digit in "123456789") + (text or plain_number(value))


def _pattern(tokens: Sequence[_Token]) -> _Pattern | None:
    places = [place for place, token in enumerate(tokens) if token.kind == "digit"]
    if not places:
        return None
    first, end = places[0], places[-1] + 1
    before, middle, behind = tokens[:first], tokens[first:end], tokens[end:]
    found = _USUAL_DIGITS.fullmatch("".join(token.text for token in middle).replace("?", "#"))
    is_interrupted = any(token.kind not in ("digit", "comma", "point") for token in middle)
    if found is None or is_interrupted or any(token.kind in ("exponent", "point") for token in (*before, *behind)):
        return None
    whole, required, optional = found[1], found[2] or "", found[3] or ""
    n_thousands = next((place for place, token in enumerate(behind) if token.kind != "comma"), len(behind))
    return _Pattern(
        before="".join(token.text for token in before if token.kind in _SHOWN),
        after="".join(token.text for token in behind if token.kind in _SHOWN),
        is_grouped="," in whole,
        n_zeros=whole.count("0"),
        n_decimals=len(required),
        unit=Decimal(1).scaleb(-len(required) - len(optional)),
        exponent=2 * sum(token.kind == "percent" for token in tokens) - 3 * n_thousands,
    )


def _filled_in(pattern: _Pattern, amount: Decimal) -> str:
    amount = amount.scaleb(pattern.exponent, _EXACT).quantize(pattern.unit, context=_EXACT)
    whole, _, decimals = f"{amount:{',' if pattern.is_grouped else ''}f}".partition(".")
    whole = whole.zfill(pattern.n_zeros) if pattern.n_zeros or whole != "0" else ""
    decimals = decimals[: pattern.n_decimals] + decimals[pattern.n_decimals :].rstrip("0")
    return f"{pattern.before}{whole}{'.' * bool(decimals)}{decimals}{pattern.after}"


def _section_for(value: float, sections: Sequence[_Section]) -> _Section:
    if any(section.condition for section in sections):
        return next((section for section in sections[:3] if _holds(section, value)), sections[-1])
    place = 1 if value < 0 else 2 if value == 0 else 0
    return sections[place] if place < min(len(sections), 3) else sections[0]


def _holds(section: _Section, value: float) -> bool:
    condition = section.condition
    return condition is None or bool(_COMPARE[condition[1]](value, float(condition[2])))


def _scientific(section: _Section, amount: Decimal) -> str | None:
    place = next(place for place, token in enumerate(section.tokens) if token.kind == "exponent")
    mantissa, exponent = section.tokens[:place], section.tokens[place + 1 :]
    whole = mantissa[: next((i for i, token in enumerate(mantissa) if token.kind == "point"), len(mantissa))]
    if sum(token.kind == "digit" for token in whole) != 1:
        return None  # the exponent goes in steps of as many digits
    n_decimals = sum(token.kind == "digit" for token in mantissa[len(whole) :])
    digits, _, power = f"{amount:.{n_decimals}E}".partition("E")
    shown_sign = "-" if int(power) < 0 else "+" if section.tokens[place].text.endswith("+") else ""
    return f"{_digits(mantissa, Decimal(digits))}E{shown_sign}{_digits(exponent, Decimal(abs(int(power))))}"


def _digits(tokens: Sequence[_Token], amount: Decimal) -> str:
    """A number in the places that a format has for its digits."""
    places = [place for place, token in enumerate(tokens) if token.kind == "digit"]
    if not places:
        return "".join(token.text for token in tokens if token.kind in _SHOWN)
    point = next((place for place, token in enumerate(tokens) if token.kind == "point"), places[-1] + 1)
    is_grouped = any(token.kind == "comma" for token in tokens[places[0] : min(point, places[-1])])
    thousands = 0
    for token in tokens[places[-1] + 1 :]:
        if token.kind != "comma":
            break
        thousands += 1
    amount = amount.scaleb(-3 * thousands)
    whole, _, decimals = f"{amount:.{sum(place > point for place in places)}f}".partition(".")
    return _whole_part(tokens[:point], whole.lstrip("0"), is_grouped=is_grouped) + _decimal_part(
        tokens[point:], decimals
    )


def _whole_part(tokens: Sequence[_Token], digits: str, *, is_grouped: bool) -> str:
    """Filled from right to left; the first place takes what is left."""
    first = next((place for place, token in enumerate(tokens) if token.kind == "digit"), 0)
    left = list(digits)
    shown: list[str] = []
    n_digits = 0
    for place in range(len(tokens) - 1, -1, -1):
        token = tokens[place]
        if token.kind in _SHOWN:
            shown.append(token.text)
        if token.kind != "digit":
            continue
        while left or token.text == "0":
            if is_grouped and n_digits and n_digits % 3 == 0:
                shown.append(",")
            shown.append(left.pop() if left else "0")
            n_digits += 1
            if place != first or not left:
                break
    return "".join(reversed(shown))


def _decimal_part(tokens: Sequence[_Token], decimals: str) -> str:
    """Filled from left to right; # and ? show no zeros at the end."""
    shown: list[str] = []
    place = 0
    for token in tokens:
        if token.kind in _SHOWN:
            shown.append(token.text)
        elif token.kind == "digit" and (token.text == "0" or decimals[place:].strip("0")):
            shown.append("." * (place == 0) + decimals[place])
        place += token.kind == "digit"
    return "".join(shown)


def _with_literals(section: _Section, value: str) -> str:
    """A value in the place that a format has for all of it."""
    return "".join(
        value if token.kind in ("general", "value") else token.text * (token.kind in _SHOWN) for token in section.tokens
    )


def _text(value: str, sections: Sequence[_Section]) -> str:
    section = sections[3] if len(sections) > 3 else sections[0]
    return _with_literals(section, value) if "value" in section.kinds else value


def _date(value: date, sections: Sequence[_Section]) -> str:
    shown = {token.text.lower() for token in sections[0].tokens if token.kind == "bare"}
    day = value.date() if isinstance(value, datetime) else value
    if "y" in shown and not shown & {"d", "h"}:
        return f"{day:%Y-%m}" if "m" in shown else f"{day:%Y}"
    if not isinstance(value, datetime) or not shown & {"h", "s"}:
        return day.isoformat()
    return f"{day.isoformat()} {_time(value.time())}" if shown & {"y", "d"} else _time(value.time())


def _time(value: time) -> str:
    return value.isoformat("seconds" if value.second else "minutes")


def _duration(value: timedelta) -> str:
    minutes, seconds = divmod(round(abs(value).total_seconds()), 60)
    return "-" * (value < timedelta()) + f"{minutes // 60}:{minutes % 60:02}" + f":{seconds:02}" * (seconds > 0)
