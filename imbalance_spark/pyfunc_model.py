"""The file that MLflow runs to make the logged model: models from code hold no pickle."""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from imbalance_spark.model import ModelBundle, Scorer

NO_THRESHOLD = -1.0
"""Default of the predict parameter `threshold`: the bundle's own cut-off decides."""


class OrdersModel(PythonModel):
    """Orders in, `probability`, `decision` and `threshold` out."""

    def load_context(self, context: Any) -> None:
        """Read the bundle beside the model; a changed part is refused."""
        self.scorer = Scorer(ModelBundle.load(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score; `params["threshold"]` replaces the stored cut-off for this call."""
        asked = (params or {}).get("threshold", NO_THRESHOLD)
        return self.scorer.score(model_input, None if asked == NO_THRESHOLD else float(asked))


set_model(OrdersModel())
