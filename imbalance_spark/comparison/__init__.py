"""The main job: prepare, compare, evaluate, advise, gate, report, record."""
