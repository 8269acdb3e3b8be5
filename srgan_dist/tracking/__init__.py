"""MLflow: everything is first written to the run directory, then sent by a thread. Only this chapter imports mlflow."""
