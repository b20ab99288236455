"""What a check found, and how findings are printed."""

import dataclasses
from typing import Literal

State = Literal["ok", "note", "fault"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    state: 'ok'; 'note' where something optional is missing or slow; 'fault' where a command would
    fail. Of the latter two, `advice` states what to do.
    """

    subject: str
    state: State
    detail: str
    advice: str = ""


def lines(finding: Finding) -> list[str]:
    """Returns a finding as lines of text; advice stands on a line of its own."""
    advice = [f"{'':<18}-> {finding.advice}"] if finding.advice else []
    return [f"{finding.state:<6}{finding.subject:<12}{finding.detail}", *advice]
