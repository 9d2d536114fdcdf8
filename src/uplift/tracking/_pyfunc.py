"""The code of every logged model (MLflow's models-from-code): text boosters and JSON in, effects or risks out.

MLflow runs this file when it loads a model; it reads nothing but the folder ``model`` beside it.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from uplift.learners.bundle import load_bundle


class UpliftModel(PythonModel):
    """Predicts every output column that the signature names."""

    def load_context(self, context: Any) -> None:
        """Load the boosters."""
        self._bundle = load_bundle(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of effects or risks for every row of features."""
        del context, params
        return self._bundle.predict_frame(model_input)


mlflow.models.set_model(UpliftModel())
