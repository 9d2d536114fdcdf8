"""What must be proved, by id: every method of the platform with a claim that a simulation or a test can refute.

A test that proves one of these records it with the fixture ``proof``; ``tests/truth/test_proof_table.py`` fails for an
id that nobody recorded, unless it is named in :data:`NOT_YET = {
    "learners/forests",
    "evaluation/responders",
    "experiments/ratio",
    "experiments/small-cells",
    "experiments/times",
    "experiments/guardrails",
    "experiments/exposed",
    "experiments/one-pass",
}
