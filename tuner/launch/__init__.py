"""Start workers somewhere; what they do is theirs."""
