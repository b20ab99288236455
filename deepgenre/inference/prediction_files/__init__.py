"""Files of predictions: JSON lines, CSV or Parquet; new or resumed."""
