"""The paper's experiments: methods trained, features extracted, probes, tables and figures."""
