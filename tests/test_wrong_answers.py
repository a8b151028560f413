"""The catalogue of wrong answers: each by its number, with the tests that hold what the product must say instead."""

from support.catalogue import absent_tests, cases_of

HELD = """
1 a retuned model that is taken for an earlier one: jobs/test_retune_job::test_what_is_printed_is_served_at_any_number_of_orders_a_day, jobs/test_retune_job::test_costs_that_nearly_agree_are_two_models
2 the cost of another objective than the one that serves: comparison/test_run_in_one_call::test_what_costs_by_amount_give_on_test_is_what_the_served_decisions_cost, comparison/test_advice::test_the_cost_of_what_is_served_decides_and_one_joint_interval_is_shown, threshold/test_bayes_cost::test_its_value_is_the_cost_of_all_four_cells, threshold/test_decisions::test_costs_are_those_of_the_objective_that_serves_whichever_comes_first
3 a threshold that follows the noise of few positives: threshold/test_rule::test_on_few_positives_the_rule_loses_less_than_the_search, threshold/test_rule::test_a_search_takes_over_only_where_it_proves_cheaper, comparison/test_retune::test_a_threshold_that_costs_more_on_the_rows_shown_is_explained
4 a champion judged on its training rows: comparison/test_champion::test_unseen_rows_are_those_outside_the_champions_train, comparison/test_champion::test_a_split_that_needs_an_absent_column_is_not_guessed
5 the best of several by an interval of one: comparison/test_advice::test_intervals_widen_with_the_number_of_comparisons, comparison/test_advice::test_models_of_one_quality_give_no_reason_to_leave_plain_boosting
6 a calibration check that few positives pass, and that groups or weights fail: calibration/test_prior_correction::test_positives_that_cannot_tell_half_the_rate_from_the_rate_check_nothing, calibration/test_prior_correction::test_true_probabilities_pass_the_ledger_of_dependent_or_weighted_rows
7 a budget of alerts that is left unused or counts weights: threshold/test_rule::test_a_budget_is_filled_with_orders_whatever_they_weigh, comparison/test_retune::test_an_alert_budget_is_kept_in_orders_per_day
8 an interval that is shown and another that decides: comparison/test_advice::test_a_verdict_is_read_from_the_printed_interval_alone, comparison/test_advice::test_no_resampling_is_needed_only_where_no_gain_can_exceed_the_margin, comparison/test_advice::test_what_is_registered_is_what_is_advised_unless_the_highest_is_asked_for
9 one fit taken for the recipe: comparison/test_gains::test_the_spread_of_training_widens_the_interval_by_its_own_degrees_of_freedom, comparison/test_run_in_one_call::test_a_repeated_fit_shows_the_spread_of_training_and_the_first_one_serves
10 a precision promised from the rows it was found on: threshold/test_rule::test_a_promise_of_precision_holds_beyond_chance, threshold/test_rule::test_a_promise_that_few_rows_cannot_keep_flags_nobody_and_says_what_would, threshold/test_rule::test_dependent_rows_make_a_promise_dearer
11 a moved base rate from the rate of one half: comparison/test_retune::test_at_the_rate_of_all_of_validation_served_probabilities_do_not_move, comparison/test_retune::test_the_rate_of_validation_is_reported_with_its_interval
12 constraints of K classes that the served decision breaks: threshold/test_class_rules::test_a_constraint_of_each_class_is_checked_on_the_served_decision
13 standard errors by row of rows that depend on each other: calibration/test_calibrators::test_the_error_of_a_judgement_is_over_buckets_where_rows_depend_on_each_other, calibration/test_temperature_error::test_a_right_model_is_calibrated_seldom_however_often_its_rows_come
14 intervals of costs that are negative or all zero: metrics/test_intervals::test_a_cost_of_either_sign_has_an_interval_around_itself, metrics/test_intervals::test_the_interval_of_a_gain_is_the_mirrored_interval_of_the_cost, metrics/test_intervals::test_a_cost_of_zero_in_every_bucket_has_no_upper_end
15 segments by coarse counts, and thresholds of their noise: scoring/test_order_decisions::test_counts_are_those_of_each_rows_own_decision, threshold/test_segments::test_twenty_equal_segments_share_one_threshold, threshold/test_segments::test_segments_that_differ_save_on_other_rows_too_what_the_interval_says
16 validation's numbers from the rows that chose: threshold/test_rule::test_a_cost_has_the_threshold_of_elkan_and_cross_fitted_results, comparison/test_evaluate::test_every_rule_has_its_metrics_and_the_serving_one_its_intervals
17 names that collide, two conventions, late or missing words: threshold/test_decisions::test_two_objectives_of_one_name_are_refused_and_both_are_shown, comparison/test_evaluate::test_a_rule_that_flags_nobody_has_no_precision_under_any_name_and_says_so, comparison/test_evaluate::test_too_few_rows_are_refused_before_anything_is_fitted, comparison/test_evaluate::test_one_row_of_a_class_in_validation_is_too_few_for_two_halves
18 numbers of fewer than ten rows: comparison/test_record::test_a_segment_of_few_rows_is_logged_nowhere_and_the_counts_still_add_up, scoring/test_small_segments::test_values_of_few_rows_in_any_fold_are_one_value_in_every_fold
"""  # noqa: E501  # one case a line

CASES = cases_of(HELD)


def test_every_wrong_answer_of_the_catalogue_has_a_line() -> None:
    assert [case.number for case in CASES] == list(range(1, 19))


def test_the_test_of_every_wrong_answer_exists() -> None:
    assert absent_tests(CASES) == []
