"""The file that MLflow runs to make the logged model: models from code hold no pickle."""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.scorer import Scorer


class OrdersModel(PythonModel):
    """Orders in; out come `probability`, `decision` and `threshold`, or each class's probability and the decision."""

    def load_context(self, context: Any) -> None:
        """Read the bundle beside the model; a changed part is refused."""
        self.scorer = Scorer(ModelBundle.load(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score; `params["threshold"]`, or `params["objective"]`, decides instead of what is stored, for this call."""
        return self.scorer.predict(model_input, params or {})


set_model(OrdersModel())
