"""Is the best trial as good as it looks? The best few are trained again, and judged anew."""

from tuner.confirm.beginning import begin, finalists, newcomers
from tuner.confirm.rehearsing import rehearse
from tuner.confirm.result import conclude

__all__ = ["begin", "conclude", "finalists", "newcomers", "rehearse"]
