"""What the gate says without looking at a champion: switched off, on trial, and where there is none yet."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.made_up_comparison import comparison_of

from imbalance_spark.comparison import gate as gates
from imbalance_spark.comparison.gate import GateDecision, decide_promotion
from imbalance_spark.config.run import GateConfig


def decided(mode: str, monkeypatch: pytest.MonkeyPatch) -> GateDecision:
    """On a registry without a champion."""
    monkeypatch.setattr(gates, "champion_of", lambda _: None)
    comparison = comparison_of({"none": 0.3}, gate=GateConfig(mode=mode, require_ledger=False))
    tracking = SimpleNamespace(registered_model="orders")
    return decide_promotion(replace(comparison, config=SimpleNamespace(**vars(comparison.config), tracking=tracking)))


def test_a_gate_that_is_disabled_compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = decided("disabled", monkeypatch)
    assert (decision.outcome, decision.moves_alias) == ("keep", False)
    assert decision.reasons == ("gate.mode is disabled: nothing was compared.",)


def test_a_dry_run_says_what_would_happen_and_moves_no_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = decided("dry_run", monkeypatch)
    assert (decision.outcome, decision.moves_alias) == ("promote", False)
    assert decision.lines()[0] == "Gate (dry_run): would be promoted to champion (dry run)."


def test_the_first_model_becomes_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = decided("enabled", monkeypatch)
    assert (decision.outcome, decision.moves_alias) == ("promote", True)
    assert decision.reasons[0] == "orders has no champion yet: this is the first."
