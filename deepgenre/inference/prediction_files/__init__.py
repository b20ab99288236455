"""Files of predictions: JSON lines, CSV or Parquet; written whole or resumed."""
