"""What a check found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Self

from imbalance_spark.failures import describe


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found, and how to mend it."""

    status: Literal["ok", "WARN", "FAIL"]
    what: str
    found: str
    fix: str = ""

    @property
    def line(self) -> str:
        """`FAIL  what  found  -> fix`."""
        return f"{self.status:<4}  {self.what:<19}  {self.found}" + (f"  -> {self.fix}" if self.fix else "")

    @classmethod
    def of_error(cls, what: str, error: Exception) -> Self:
        """A failure in its own words: errors of this package say what is wrong, then how to mend it."""
        text = describe(error)[1]
        # Known causes of Spark's and XGBoost's errors read `what; fix.`
        found, _, fix = text.partition(". ") if ". " in text else text.partition("; ")
        return cls(status="FAIL", what=what, found=found.removesuffix("."), fix=fix)


def guarded(what: str, check: Callable[[], Finding]) -> Finding:
    """What the check finds; that it breaks is a finding, too."""
    try:
        return check()
    except Exception as error:
        return Finding.of_error(what, error)


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether no check failed; a warning is no failure."""
    return all(finding.status != "FAIL" for finding in findings)
