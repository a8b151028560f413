"""The config file: every trap refused with its place, all problems at once."""

from pathlib import Path

import pytest

from imbalance_spark.comparison.compare import asked_decisions
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import config_hash, dump, load_config, parse, parse_yaml
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.orders.config import OrdersConfig

MINIMAL = """
name: small
output: out
orders:
  source: {path: orders}
  label: is_fraud
  numeric: [amount, hour]
strategies: [none, {kind: undersample, sampling_strategy: 0.1}]
"""


def load(tmp_path: Path, text: str, *overrides: str) -> RunConfig:
    file = tmp_path / "c.yaml"
    file.write_bytes(text.encode())
    return load_config(str(file), RunConfig, overrides)


def problem(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value)


def test_defaults_and_short_strategy_names(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert [s.name for s in config.strategies] == ["none", "undersample"]
    assert config.split.fractions == {"train": 0.7, "validation": 0.15, "test": 0.15}


def test_set_overrides_a_value_read_as_yaml(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL, "split.seed=11", "training.params.learning_rate=5e-2")
    assert (config.split.seed, config.training.params.learning_rate) == (11, 0.05)


@pytest.mark.parametrize("key", ["{a: 1}", "[a, b]", "[a, {b: 1}]"])
def test_a_key_that_is_no_plain_value_is_refused(tmp_path: Path, key: str) -> None:
    assert "a key must be a plain value" in problem(tmp_path, f"{MINIMAL}? {key}\n: 2\n")


def test_all_problems_are_said_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    text = MINIMAL + "split: {sed: 3}\ntraining: {num_workers: 0}\ntracing: {}\n"
    said = problem(tmp_path, text)
    assert "split.sed: unknown key. Did you mean 'seed'" in said
    assert "training.num_workers" in said
    assert "Did you mean 'tracking' for 'tracing'" in said


def test_misspelt_xgboost_parameter_is_refused_with_the_nearest(tmp_path: Path) -> None:
    said = problem(tmp_path, MINIMAL + "training: {params: {max_dept: 3}}\n")
    assert "Did you mean 'max_depth'" in said


def test_misspelt_parameter_of_a_strategy_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("[none, ", "[{kind: none, params: {scale_pos_wieght: 3}}, ")
    assert "strategies.0.params: unknown ['scale_pos_wieght']. Known: [" in problem(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has nothing"),
        ("- a\n- b\n", "it has a tuple"),
        ("a: 1\na: 2\n", "line 2: duplicate key 'a'"),
        ("0: 1\n'0': 2\n", "duplicate key"),
        ("a: &x 1\nb: *x\n", "line 1: anchors"),
        ("a: !!python/object:os.system x\n", "line 1: tags"),
        ("a:\n\t- 1\n", "line 2: not YAML"),
        ("a: [1, 2\n", "not YAML"),
        ("a: \x07\n", "forbids"),
    ],
)
def test_yaml_traps_are_refused_with_their_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_yaml(text, "c.yaml")


def test_scalars_are_what_they_look_like() -> None:
    data = parse_yaml("a: 1e-3\nb: 5e5\nc: 010\nd: 12:30\ne: yes\nf: true\ng: ~\nh: -1.5\ni: 7\nj: .5\n", "c")
    assert data == {
        "a": 1e-3, "b": 5e5, "c": "010", "d": "12:30", "e": "yes", "f": True, "g": None, "h": -1.5, "i": 7, "j": 0.5,
    }  # fmt: skip


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + MINIMAL.strip() + "\n").name == "small"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("split: {fractions: {train: 0.7, validation: 0.2, test: 0.2}}", "must sum to 1, got 1.1"),
        ("split: {fractions: {train: 1.0, validation: 0.0, test: 0.0}}", "each share must be in"),
        ("split: {fractions: {train: 0.9, test: 0.1}}", "exactly train, validation and test"),
        ("split: {seed: -1}", "split.seed"),
        ("split: {seed: seven}", "split.seed"),
        ("split: {by: group}", "orders.group names no column"),
        ("split: {by: time}", "orders.time names no column"),
    ],
)
def test_split_settings_out_of_range(tmp_path: Path, line: str, said: str) -> None:
    assert said in problem(tmp_path, MINIMAL + line + "\n")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("{kind: smoat}", "strategies.1: there is no kind 'smoat'. Did you mean 'smote'"),
        ("smoat", "Known: ['none', 'undersample'"),
        ("{name: mine}", "strategies.1: kind is missing"),
        (
            "{kind: class_weight, scale_pos_weight: 3.0}",
            "strategies.1.scale_pos_weight: unknown key of kind 'class_weight'",
        ),
        ("{kind: focal, gama: 3.0}", "Did you mean 'gamma' for 'gama'? Known: ['allow_stacked"),
        ("{kind: scale_pos_weight, scale_pos_weight: 0.0}", "greater than 0"),
        ("{kind: scale_pos_weight, scale_pos_weight: .nan}", "scale_pos_weight"),
        ("{kind: scale_pos_weight, scale_pos_weight: many}", "scale_pos_weight"),
        ("{kind: class_weight, weights: {0: 1.0, 1: -2.0}}", "above 0"),
        ("none", "named twice"),
        ("{kind: focal, gamma: -0.5}", "strategies.1.gamma: Input should be greater than or equal to 0"),
        ("{kind: focal, gamma: 101.0}", "strategies.1.gamma"),
        ("{kind: focal, alpha: 1.0}", "strategies.1.alpha: Input should be less than 1"),
        ("{kind: focal, alpha: .nan}", "strategies.1.alpha"),
        ("{kind: class_weight_power, power: 1.5}", "strategies.1.power: Input should be less than or equal to 1"),
        ("{kind: class_weight_power, power: -0.1}", "strategies.1.power"),
        ("{kind: max_delta_step, max_delta_step: 0.0}", "strategies.1.max_delta_step: Input should be greater than 0"),
        ("{kind: class_balanced_focal, beta: 1.0}", "strategies.1.beta: Input should be less than 1"),
        ("{kind: undersample_ensemble, members: 1}", "strategies.1.members"),
        ("{kind: isolation_forest, trees: 0}", "strategies.1.trees"),
        ("{kind: isolation_forest, params: {max_depth: 3}}", "params: unknown key of kind 'isolation_forest'"),
        ("{kind: logistic_class_weight, params: {max_depth: 3}}", "unknown key of kind 'logistic_class_weight'"),
        ("{kind: logistic_class_weight, reg_param: -0.1}", "strategies.1.reg_param"),
        ("{kind: logistic_class_weight, max_iter: 0}", "strategies.1.max_iter"),
        (
            "{kind: logistic_class_weight, weights: {1: 3.0}}",
            "weights must name each of the classes ['0', '1'], and no other, got [1]",
        ),
        ("{kind: class_weight, reg_param: 0.1}", "strategies.1.reg_param: unknown key of kind 'class_weight'"),
        ("{kind: max_delta_step, params: {max_delta_step: 3.0}}", "set it once"),
        ("{kind: none, gamma: 2.0}", "strategies.1.gamma: unknown key of kind 'none'"),
    ],
)
def test_strategy_settings_that_cannot_be(tmp_path: Path, strategy: str, said: str) -> None:
    assert said in problem(tmp_path, MINIMAL.replace("[none, ", f"[none, {strategy}, "))


@pytest.mark.parametrize("role", ["label: amount", "key: [amount]", "group: amount", "time: hour", "weight: hour"])
def test_a_role_among_the_features_is_refused(tmp_path: Path, role: str) -> None:
    text = MINIMAL.replace("  label: is_fraud\n", "" if role.startswith("label") else "  label: is_fraud\n")
    assert "leaks" in problem(tmp_path, text.replace("orders:\n", f"orders:\n  {role}\n"))


def test_true_probability_is_never_a_feature(tmp_path: Path) -> None:
    assert "true probability column" in problem(tmp_path, MINIMAL.replace("hour", "true_probability"))


def test_a_feature_named_twice_is_refused(tmp_path: Path) -> None:
    assert "named twice: ['amount']" in problem(tmp_path, MINIMAL.replace("hour", "amount"))


def test_weight_column_with_another_correction_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("  label:", "  weight: cost\n  label:")
    assert "corrections of ['undersample'] corrects twice" in problem(tmp_path, text)
    plain = text.replace("{kind: undersample, sampling_strategy: 0.1}", "max_delta_step, isolation_forest")
    assert load(tmp_path, plain).orders.weight == "cost"


def test_dump_and_parse_are_inverse_and_hash_ignores_key_order(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    reordered = load(tmp_path, "output: out\n" + MINIMAL.replace("output: out\n", ""))
    assert config_hash(config) == config_hash(reordered)
    assert config_hash(config) != config_hash(load(tmp_path, MINIMAL, "split.seed=8"))
    assert dump(config)["training"]["params"]["max_bin"] == 256


def test_a_run_may_be_resumed_with_more_memory_but_not_by_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(tmp_path, MINIMAL)
    elsewhere = load(tmp_path, MINIMAL, "spark.master=local[8]", "spark.settings={spark.executor.memory: 9g}")
    zoned = load(tmp_path, MINIMAL, "spark.settings={spark.sql.session.timeZone: Asia/Tokyo}")
    assert config_hash(config) == config_hash(elsewhere) != config_hash(zoned)
    before = config_hash(config)
    monkeypatch.setattr("imbalance_spark.config.yaml_file.__version__", "0.0.1")
    assert config_hash(config) != before


def test_a_run_whose_model_the_gate_refused_goes_on_with_another_gate_and_its_fits(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    asked = ("gate.minimum=0.2", "gate.incomparable=replace", "gate.require_reachable=true", "gate.require_ledger=true")
    assert config_hash(load(tmp_path, MINIMAL, *asked, "tracking.uri=http://elsewhere:5000")) == config_hash(config)
    # By these strategies are ranked and advised.
    for ranks in ("gate.metric=roc_auc", "gate.register=highest", "gate.equivalence_margin=0.1"):
        assert config_hash(load(tmp_path, MINIMAL, ranks)) != config_hash(config), ranks


def test_strategies_that_differ_in_letter_case_alone_are_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("[none,", "[{kind: none, name: Plain}, {kind: none, name: plain},")
    assert "strategies (ignoring letter case, as file systems may) named twice: ['plain']" in problem(tmp_path, text)


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        load_config(str(tmp_path / "absent.yaml"), RunConfig)


def test_a_wrong_override_is_said(tmp_path: Path) -> None:
    assert "section.key=value" in problem(tmp_path, MINIMAL, "split.seed")


def test_parse_lists_missing_settings() -> None:
    with pytest.raises(ConfigError, match="label: missing"):
        parse({"source": {"path": "x"}, "numeric": ("a",)}, OrdersConfig, "c")


def test_more_features_than_a_plan_can_hold_are_refused_with_the_limit(tmp_path: Path) -> None:
    names = ", ".join(f"f_{i}" for i in range(5000))
    assert "5000 features, at most 2000" in problem(tmp_path, MINIMAL.replace("amount, hour", names))


def test_every_wrong_setting_of_a_strategy_is_said_at_once(tmp_path: Path) -> None:
    said = problem(tmp_path, MINIMAL.replace("[none, ", "[none, {kind: focal, gamma: -1.0, alpha: 2.0}, "))
    assert "strategies.1.gamma: Input should be greater than or equal to 0, got -1.0." in said
    assert "strategies.1.alpha: Input should be less than 1, got 2.0." in said


def test_an_early_stopping_metric_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "training.early_stopping_metric" in problem(tmp_path, MINIMAL + "training: {early_stopping_metric: aucpr}\n")


def test_expected_cost_stops_only_with_costs_in_numbers(tmp_path: Path) -> None:
    by_cost = MINIMAL + "training: {early_stopping_metric: expected_cost}\nserve_objective: max_f_beta_1\n"
    with pytest.raises(ConfigError, match="expected_cost needs an objective min_cost or bayes_cost with numbers"):
        asked_decisions(load(tmp_path, by_cost + "objectives: [{name: max_f_beta, beta: 1.0}]\n"))
    assert asked_decisions(load(tmp_path, by_cost.replace("serve_objective: max_f_beta_1\n", "")))


def test_synthetic_rows_are_for_the_features_that_have_a_between(tmp_path: Path) -> None:
    mixed = MINIMAL.replace("numeric: [amount, hour]", "numeric: [amount]\n  categorical: [country]")
    said = problem(tmp_path, mixed.replace("[none, ", "[none, smote, adasyn, "))
    assert "smote interpolates numeric features and cannot handle orders.categorical ['country']" in said
    assert "strategy 'adasyn'" in said
    assert "use smote_nc" in said
    assert "for numbers alone use smote" in problem(tmp_path, MINIMAL.replace("[none, ", "[none, smote_nc, "))
    assert load(tmp_path, mixed.replace("[none, ", "[none, smote_nc, ")).strategies[1].kind == "smote_nc"
    assert "k_neighbors: unknown key of kind 'oversample'" in problem(
        tmp_path, MINIMAL.replace("[none, ", "[none, {kind: oversample, k_neighbors: 3}, ")
    )
