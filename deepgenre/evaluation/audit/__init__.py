"""Audits of datasets, feature files and runs for what makes scores false."""
