"""What an A/B run showed: figures with their intervals, a verdict by stated rules, a page to look
at, and blind votes. `write_report` and `serve_votes` are all that is used from outside."""

from .serve import serve_votes
from .write import write_report

__all__ = ["serve_votes", "write_report"]
