"""Programs that go with exports, as ``predict.py``: they need a runtime, and nothing of ours."""
