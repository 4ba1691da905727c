from __future__ import annotations

from mjctl.local.emulator import _copies


def test_a_state_that_changes_while_it_is_copied_is_saved_next_time() -> None:
    def changing() -> dict[str, int]:
        raise RuntimeError("dictionary changed size during iteration")

    states, missed = _copies({"sqs": lambda: {"a": 1}, "cognito": changing, "unused": lambda: None})
    assert states == {"sqs": {"a": 1}}
    assert missed == {"cognito"}
