"""Numbers as the report prints them: accuracies in points (hundredths), p-values to three digits, nothing without its sign."""


def points(value: float | None, *, sign: bool = False, digits: int = 2) -> str:
    """A fraction of accuracy in points: .0123 -> 1.23; unbounded limits are said to be so."""
    if value is None:
        return "unbounded"
    text = f"{value * 100:+.{digits}f}" if sign else f"{value * 100:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else f"{0:.{digits}f}"


def percent(value: float | None) -> str:
    """A fraction as whole percent."""
    return "unknown" if value is None else f"{value:.0%}"


def count(value: int | None) -> str:
    """A number of things."""
    return "unknown" if value is None else f"{value:,}"


def seeds(value: int) -> str:
    """A number of seeds."""
    return f"{value:,} seed{'' if value == 1 else 's'}"


def p_text(value: float | None) -> str:
    """A p-value to three significant digits below .1, so that none looks like the level it is compared with."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:.3g}" if value < 0.1 else f"{value:.2f}"


def number(value: float | None, digits: int = 2) -> str:
    """Any other number."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
