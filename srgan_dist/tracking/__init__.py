"""MLflow: written to the run directory at once, sent by a thread. Only this chapter imports mlflow."""
