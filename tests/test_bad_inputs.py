"""The catalogue of bad inputs: each by its number, with the tests that hold what the product must do with it."""

from support.catalogue import absent_tests, cases_of

UNUSED = frozenset({15, 22, 38, 47, 65, 75, 92, 106, 129})
"""Numbers that the catalogue does not give."""

HELD = """
1 label null: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
2 label NaN: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
3 label infinite: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
4 one class: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
5 no rows: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
6 a schema without rows: split/test_stratified::test_an_empty_table_is_refused
7 a partition without a class: train_only/learners/test_xgboost::test_two_workers_do_not_hang_when_one_has_no_positive_and_fit_the_same_twice
8 a fold without a class: split/test_stratified::test_a_class_absent_from_a_fold_is_refused_with_what_would_do
9 label boolean: orders/test_validation::test_labels_zero_and_one_of_any_type_are_understood
10 label 0.0, -0.0, decimal: orders/test_labels_and_categories::test_zero_and_one_of_any_numeric_type_are_the_same_labels
11 label text: orders/test_labels_and_categories::test_labels_that_do_not_say_which_is_which_are_refused
12 labels -1, 1: orders/test_labels_and_categories::test_the_positive_class_is_found
13 labels 1, 2: orders/test_labels_and_categories::test_the_positive_class_is_found
14 labels 0, 2: orders/test_labels_and_categories::test_labels_that_do_not_say_which_is_which_are_refused
16 three classes for two: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
17 gaps in class numbers: orders/test_labels_and_categories::test_labels_keep_the_order_of_the_config_and_gaps_are_numbered
18 label column missing: orders/test_bad_columns::test_a_label_that_is_misspelt_is_named_with_the_nearest_column
19 positive_label absent: orders/test_labels_and_categories::test_labels_that_do_not_say_which_is_which_are_refused
20 a role as feature: config/test_yaml_file::test_a_role_among_the_features_is_refused
21 copy of the label: orders/test_validation::test_a_label_that_leaked_into_features_is_named_whatever_its_disguise
23 one or two rare rows: split/test_stratified::test_a_class_absent_from_a_fold_is_refused_with_what_would_do, comparison/test_evaluate::test_one_row_of_a_class_in_validation_is_too_few_for_two_halves
24 same features, both labels: orders/test_audit::test_duplicates_across_folds_and_contradictions_are_counted
25 one in a million: orders/test_bad_tables::test_three_rows_among_three_million_are_counted_and_split
26 feature null: train_only/sampling/test_smote::test_a_synthetic_row_lacks_what_its_parent_lacks_and_nothing_else
27 feature NaN: scoring/test_score_orders::test_nan_is_missing_as_null_is
28 feature infinite: jobs/test_score_quarantine::test_numbers_that_no_model_can_read_are_set_aside_once_with_their_reasons
29 beyond float32: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
30 bigint beyond 2^24: orders/test_audit::test_an_integer_feature_that_identifies_rows_is_refused_by_name
31 column all null: orders/test_validation::test_useless_and_oversized_features_are_warned_about
32 constant column: orders/test_validation::test_useless_and_oversized_features_are_warned_about
33 decimal feature: orders/test_validation::test_decimal_features_and_labels_pass
34 boolean feature: orders/test_read::test_numbers_and_booleans_are_numeric_features
35 time as feature: orders/test_read::test_a_feature_of_another_type_is_named_with_its_type_and_a_fix
36 string as number: orders/test_read::test_a_feature_of_another_type_is_named_with_its_type_and_a_fix
37 map, struct, binary, variant: orders/test_read::test_a_feature_of_another_type_is_named_with_its_type_and_a_fix
39 ragged arrays: orders/test_bad_columns::test_arrays_and_vectors_are_refused_in_training_and_in_scoring
40 null array or vector: orders/test_bad_columns::test_arrays_and_vectors_are_refused_in_training_and_in_scoring
41 sparse vectors: orders/test_bad_columns::test_arrays_and_vectors_are_refused_in_training_and_in_scoring
42 another vector size: orders/test_bad_columns::test_arrays_and_vectors_are_refused_in_training_and_in_scoring
43 feature named twice: config/test_yaml_file::test_a_feature_named_twice_is_refused
44 feature missing: orders/test_read::test_all_column_problems_are_said_at_once
45 -0.0 and denormals: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
46 sentinel: orders/test_audit::test_a_sentinel_that_comes_with_time_is_reported_with_its_shares
48 weight null: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
49 weight NaN: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
50 weight infinite: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
51 weight negative: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
52 all weights 0: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
53 weights around 1e30: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
54 weights far apart: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
55 bigint weights overflow: orders/test_bad_tables::test_bigint_weights_whose_sum_no_bigint_holds_are_refused
56 double weights overflow: orders/test_validation::test_logs_that_cannot_be_learnt_from_are_refused
57 two corrections: config/test_yaml_file::test_weight_column_with_another_correction_is_refused
58 scale_pos_weight: config/test_yaml_file::test_strategy_settings_that_cannot_be
59 weights without a class: train_only/test_strategies::test_weights_must_name_both_classes_and_no_other
60 fraction above 1: train_only/sampling/test_sample_by_class::test_settings_that_cannot_be_are_refused
61 fraction below 0: train_only/sampling/test_sample_by_class::test_settings_that_cannot_be_are_refused
62 fraction NaN or text: train_only/sampling/test_sample_by_class::test_settings_that_cannot_be_are_refused
63 strategy of an unknown class: train_only/sampling/test_sampling_strategy::test_a_refusal_says_what_is_wrong
64 strategy without a class: train_only/sampling/test_sample_by_class::test_a_class_that_is_not_named_is_kept_whole_and_said_so
66 target on the wrong side: train_only/sampling/test_sampling_strategy::test_a_refusal_says_what_is_wrong
67 sampling held-out rows: train_only/test_guard::test_one_test_row_fails_whatever_is_done_with_the_rows
68 sampling leaves one class: train_only/sampling/test_samplers::test_under_sampling_that_leaves_one_class_is_refused
69 SMOTE's k: config/test_bad_values::test_neighbours_are_counted_from_one, train_only/sampling/test_smote::test_what_smote_cannot_do_is_refused
70 SMOTE of categories: config/test_yaml_file::test_synthetic_rows_are_for_the_features_that_have_a_between
71 identical neighbours: orders/test_bad_tables::test_smote_of_equal_rows_gives_that_row
72 key null: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
73 key twice: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays
74 key twice, other label: orders/test_validation::test_composite_keys_are_told_apart
76 customer in two folds: split/test_stratified::test_no_group_is_in_two_folds_and_counts_are_exact_per_stratum
77 customer with most rows: split/test_stratified::test_one_group_with_most_rows_is_warned_of
78 few groups with a positive: split/test_stratified::test_fewer_groups_with_a_positive_than_folds_are_refused
79 time leakage: split/test_stratified::test_time_folds_follow_each_other_with_the_gap_between
80 time null, zones: orders/test_validation::test_each_broken_rule_is_found_and_counted_and_the_rest_stays, split/test_stratified::test_time_folds_have_the_asked_sizes_and_the_session_zone_moves_no_row
81 composite keys: orders/test_validation::test_composite_keys_are_told_apart
82 fractions: config/test_yaml_file::test_split_settings_out_of_range
83 seed: config/test_yaml_file::test_split_settings_out_of_range
84 used run id: core/test_run::test_another_config_under_the_same_run_id_is_refused, orders/test_bad_tables::test_other_orders_under_a_used_run_id_are_refused
85 label corrected later: split/test_stratified::test_without_exact_counts_a_corrected_label_moves_no_row
86 name with a dot: jobs/test_any_column_name::test_the_model_reads_and_the_score_job_writes_the_names
87 name with a space or comma: jobs/test_any_column_name::test_a_run_goes_by_the_names_in_its_tables_and_its_record
88 name that looks like SQL: jobs/test_any_column_name::test_each_format_gives_back_the_names
89 names that look alike: orders/test_read::test_names_that_would_fail_later_are_refused_now
90 names alike but for case: orders/test_read::test_names_that_would_fail_later_are_refused_now
91 reserved names: orders/test_read::test_odd_names_that_quoting_handles_pass
93 scoring, extra column: scoring/test_score_orders::test_every_column_passes_through_and_five_are_added
94 scoring, missing column: scoring/test_score_orders::test_all_that_is_wrong_with_the_columns_is_said_at_once
95 scoring, other order: scoring/test_score_orders::test_rows_have_the_scores_of_the_model_in_memory
96 scoring, int for double: scoring/test_score_orders::test_types_that_hold_the_same_values_score_the_same
97 scoring, string for int: scoring/test_score_orders::test_all_that_is_wrong_with_the_columns_is_said_at_once
98 schema changes meanwhile: orders/test_bad_tables::test_a_pinned_version_keeps_its_columns_when_the_table_changes
99 5,000 columns: config/test_yaml_file::test_more_features_than_a_plan_can_hold_are_refused_with_the_limit
100 equal scores: metrics/test_curve::test_average_precision_is_the_prevalence_of_constant_scores_and_1_of_perfect
101 score NaN: metrics/test_counts::test_rows_that_break_a_rule_are_refused_with_their_number
102 score outside 0 to 1: metrics/test_grid::test_scores_that_are_no_probability_have_no_bin
103 tie at the threshold: metrics/test_curve::test_the_matrix_at_a_threshold_flags_the_scores_at_or_above_it
104 target out of reach: threshold/test_choice::test_an_unreachable_target_is_a_result_that_names_the_nearest_point
105 target by few rows: threshold/test_choice::test_a_precision_reached_with_few_rows_is_said
107 beta, top rows: threshold/test_choice::test_an_objective_that_cannot_be_is_refused_in_words, config/test_bad_values::test_more_top_rows_than_there_are_is_refused
108 evaluation of one class: metrics/test_confusion::test_a_missing_class_gives_nan_and_never_0_or_1
109 calibration of one class: calibration/test_calibrators::test_rows_of_one_class_are_refused
110 score out of the fitted range: calibration/test_calibrators::test_isotonic_stays_in_range_and_never_falls
111 test rows choose nothing: config/test_bad_values::test_other_test_rows_move_neither_calibration_nor_threshold
112 path absent or empty: orders/test_read::test_a_path_that_cannot_be_read_is_one_line_with_a_fix
113 version absent or vacuumed: orders/test_read::test_a_path_that_cannot_be_read_is_one_line_with_a_fix, orders/test_bad_tables::test_damaged_tables_are_code_3_with_what_is_wrong
114 data file lost or changed: orders/test_bad_tables::test_damaged_tables_are_code_3_with_what_is_wrong
115 commit lost, empty or changed: orders/test_bad_tables::test_damaged_tables_are_code_3_with_what_is_wrong
116 table features: orders/test_bad_tables::test_damaged_tables_are_code_3_with_what_is_wrong, orders/test_bad_tables::test_deletion_vectors_are_read
117 disk full: config/test_bad_values::test_a_place_that_takes_no_file_is_named
118 read-only: config/test_bad_values::test_a_place_that_takes_no_file_is_named
119 no permission: config/test_bad_values::test_a_place_that_takes_no_file_is_named
120 store away at the start: jobs/test_train_job::test_what_cannot_be_ends_with_one_line_and_its_code
121 store away later: jobs/test_store_away::test_a_job_goes_on_from_where_the_store_went_away
122 names as paths: config/test_bad_values::test_a_run_id_leads_to_no_other_folder
123 misspelt key: config/test_yaml_file::test_misspelt_xgboost_parameter_is_refused_with_the_nearest
124 YAML traps: config/test_yaml_file::test_yaml_traps_are_refused_with_their_line, config/test_bad_values::test_a_config_that_would_fill_the_memory_is_refused
125 other packages on executors: train_only/learners/test_executors::test_each_difference_of_the_executors_is_named
126 xgboost missing on executors: cluster/test_other_python::test_executors_without_xgboost_are_refused_before_any_fit
127 too few slots: train_only/learners/test_executors::test_too_few_slots_are_refused_with_found_and_needed
128 dynamic allocation: train_only/learners/test_executors::test_dynamic_allocation_is_refused_with_a_sentence
"""  # noqa: E501  # one case a line

CASES = cases_of(HELD)


def test_every_bad_input_of_the_catalogue_has_a_line() -> None:
    assert [case.number for case in CASES] == sorted(set(range(1, 130)) - UNUSED)


def test_the_test_of_every_bad_input_exists() -> None:
    assert absent_tests(CASES) == []
