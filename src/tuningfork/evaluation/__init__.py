"""Metrics, baselines, reliability, calibration and out-of-domain tests."""
