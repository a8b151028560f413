"""NannyML's confidence-based performance estimation, in a process of the environment that has it.

It is started by `python -m benchmarks monitor --peer PYTHON`, and imports nothing of ours.
"""

import json
import sys
import warnings


def main(past: str, day: str) -> None:
    """Fit on the rows of `past`; then, for each line that comes in, estimate those of `day` and print the numbers."""
    warnings.simplefilter("ignore")
    import nannyml
    import pandas as pd

    estimator = nannyml.CBPE(
        y_pred_proba="p", y_pred="decision", y_true="label", metrics=["precision", "recall"],
        problem_type="classification_binary", chunk_number=1,
    ).fit(pd.read_parquet(past))  # fmt: skip
    rows = pd.read_parquet(day).drop(columns="label")
    print(json.dumps({"version": nannyml.__version__}), flush=True)
    for _ in sys.stdin:
        table = estimator.estimate(rows).filter(period="analysis").to_df()
        found = {name: float(table[(name, "value")].iloc[0]) for name in ("precision", "recall")}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
